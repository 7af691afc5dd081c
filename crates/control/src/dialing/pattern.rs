//! Patterns of numbers, as PBX operators write them in their dial plans. Pure.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | a digit, a leading `+` | itself |
//! | `X` | a digit, 0 to 9 |
//! | `Z` | 1 to 9 |
//! | `N` | 2 to 9 |
//! | `[13-5]` | one of 1, 3, 4, 5 |
//! | `.` at the end | one digit or more |
//!
//! Small letters mean the same. A pattern always stands for the whole number: a regular expression that its author forgot
//! to anchor lets more through than was meant, and here that costs money.

use std::fmt;
use std::str::FromStr;

/// No telephone number is longer (E.164: 15 digits), and extensions end at 64.
const MAX_PLACES: usize = 64;

/// One pattern.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    plus: bool,
    /// Digits allowed at each place, a bit for each.
    places: Vec<u16>,
    /// One digit or more follow.
    open: bool,
}

impl Pattern {
    /// The number, whole, is one of these.
    pub fn matches(&self, number: &str) -> bool {
        let (plus, digits) = match number.strip_prefix('+') {
            Some(digits) => (true, digits),
            None => (false, number),
        };
        let fits = if self.open { digits.len() > self.places.len() } else { digits.len() == self.places.len() };
        plus == self.plus
            && fits
            && digits.bytes().all(|b| b.is_ascii_digit())
            && digits.bytes().zip(&self.places).all(|(digit, allowed)| allowed >> (digit - b'0') & 1 == 1)
    }
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (plus, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let mut pattern = Self { text: text.to_owned(), plus, places: Vec::new(), open: false };
        let mut chars = rest.chars();
        while let Some(c) = chars.next() {
            if pattern.open {
                return Err("a dot stands at the end only");
            }
            let allowed = match c {
                '0'..='9' => bits(c, c),
                'X' | 'x' => bits('0', '9'),
                'Z' | 'z' => bits('1', '9'),
                'N' | 'n' => bits('2', '9'),
                '[' => choice(&mut chars)?,
                '.' => {
                    pattern.open = true;
                    continue;
                }
                _ => return Err("digits, X, N, Z, [1-4], a leading + and a dot at the end make a pattern"),
            };
            pattern.places.push(allowed);
        }
        if pattern.places.len() > MAX_PLACES {
            return Err("a pattern has 64 places at most");
        }
        if pattern.places.is_empty() && !pattern.open {
            return Err("a pattern is not empty");
        }
        Ok(pattern)
    }
}

/// What follows a `[`, up to its `]`.
fn choice(chars: &mut std::str::Chars<'_>) -> Result<u16, &'static str> {
    const WRONG: &str = "digits and ranges such as 1-4 stand in brackets";
    let mut allowed = 0;
    let mut last: Option<char> = None;
    loop {
        match chars.next() {
            Some(']') if allowed != 0 => return Ok(allowed),
            Some(c @ '0'..='9') => {
                allowed |= bits(c, c);
                last = Some(c);
            }
            Some('-') => {
                let (from, to) = (last.take().ok_or(WRONG)?, chars.next().ok_or(WRONG)?);
                if !to.is_ascii_digit() || to < from {
                    return Err(WRONG);
                }
                allowed |= bits(from, to);
            }
            _ => return Err(WRONG),
        }
    }
}

/// Both ends are digits.
fn bits(from: char, to: char) -> u16 {
    (from..=to).filter_map(|c| c.to_digit(10)).fold(0, |all, digit| all | 1 << digit)
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pattern_stands_for_the_whole_number() {
        for (pattern, yes, no) in [
            ("101", &["101"][..], &["1010", "10", "+101", ""][..]),
            ("1XX", &["100", "199"], &["200", "1000", "19", "1a0"]),
            ("nxx", &["200", "999"], &["100", "199"]),
            ("Z.", &["12", "9999"], &["1", "01", ""]),
            ("0[1-35]X", &["010", "059", "039"], &["040", "060", "0100"]),
            ("+49.", &["+4930", "+491"], &["+49", "4930", "0049301", "++491"]),
            (".", &["1", "99999"], &["", "+1", "a"]),
            ("+.", &["+1"], &["1", "+"]),
            ("X", &["0"], &["٣"]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            for number in yes {
                assert!(parsed.matches(number), "{pattern} and {number}");
            }
            for number in no {
                assert!(!parsed.matches(number), "{pattern} and {number}");
            }
            assert_eq!(parsed.to_string(), pattern);
        }
    }

    #[test]
    fn what_is_no_pattern_says_why() {
        for (pattern, why) in [
            ("", "not empty"),
            ("+", "not empty"),
            ("1.2", "at the end only"),
            ("..", "at the end only"),
            ("1+2", "make a pattern"),
            ("^1$", "make a pattern"),
            ("[", "in brackets"),
            ("[]", "in brackets"),
            ("[4-1]", "in brackets"),
            ("[-1]", "in brackets"),
            ("[1-", "in brackets"),
            ("[1-3-5]", "in brackets"),
            ("[a]", "in brackets"),
            (&"X".repeat(65), "64 places"),
        ] {
            let found = pattern.parse::<Pattern>().unwrap_err();
            assert!(found.contains(why), "{pattern}: {found}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_pattern_panic(pattern in "\\PC{0,20}", number in "\\PC{0,20}") {
            if let Ok(parsed) = pattern.parse::<Pattern>() {
                let _ = parsed.matches(&number);
            }
        }

        #[test]
        fn digits_match_themselves_and_nothing_longer(number in "\\+?[0-9]{1,30}", more in "[0-9]{1,5}") {
            let exact: Pattern = number.parse().unwrap();
            prop_assert!(exact.matches(&number));
            let longer = format!("{number}{more}");
            prop_assert!(!exact.matches(&longer));
            let open: Pattern = format!("{number}.").parse().unwrap();
            prop_assert!(open.matches(&longer));
        }
    }
}
