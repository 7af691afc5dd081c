//! Times as the API takes them: RFC 3339 §5.6 in any offset (api.md section 1). Pure.

use jiff::Timestamp;

/// For messages.
pub(crate) const EXAMPLE: &str = "2030-07-21T17:32:28Z";

/// A time in the precision that is kept and answered, milliseconds; `None` for anything else.
pub(crate) fn from_rfc3339(text: &str) -> Option<Timestamp> {
    let time: Timestamp = Some(text).filter(|text| is_rfc3339(text.as_bytes()))?.parse().ok()?;
    Timestamp::from_millisecond(time.as_millisecond()).ok()
}

/// The shape of RFC 3339 §5.6 `date-time`, of the years 1000 to 9998, as `api::fields::Time` has it as a
/// pattern: the parser behind takes more than that.
fn is_rfc3339(text: &[u8]) -> bool {
    let Some((head, tail)) = text.split_at_checked(19) else { return false };
    let fits = |(c, s): (&u8, &u8)| if *s == b'd' { c.is_ascii_digit() } else { c.eq_ignore_ascii_case(s) };
    let of_a_day = |hour: &[u8], minute: &[u8]| hour <= &b"23"[..] && minute <= &b"59"[..];
    if !head.iter().zip(b"dddd-dd-ddTdd:dd:dd").all(fits)
        || !(&b"1000"[..]..=&b"9998"[..]).contains(&&head[..4])
        || !of_a_day(&head[11..13], &head[14..16])
        || head[17..19] > b"59"[..]
    {
        return false;
    }
    let offset = match tail {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|c| c.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            fraction.get(digits..).unwrap_or(&[])
        }
        tail => tail,
    };
    match offset {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', offset @ ..] => {
            offset.len() == 5 && offset.iter().zip(b"dd:dd").all(fits) && of_a_day(&offset[..2], &offset[3..])
        }
        _ => false,
    }
}
