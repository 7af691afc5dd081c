//! Finding boxes among bytes that may be anything: no allocation, no panic (ISO/IEC 14496-12 §4.2).

use std::ops::Range;

/// A box's type, and how long it and its header are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: [u8; 4],
    /// With the header.
    pub(super) bytes: u64,
    /// 8, or 16 with a 64-bit size.
    pub(super) header_bytes: u64,
}

/// The header at the very start. `None` if it is cut, or says that the box is smaller than itself or has no end.
pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let (short, rest) = bytes.split_first_chunk::<4>()?;
    let (&kind, rest) = rest.split_first_chunk::<4>()?;
    let (bytes, header_bytes) = match u32::from_be_bytes(*short) {
        1 => (u64::from_be_bytes(*rest.first_chunk::<8>()?), 16),
        short => (u64::from(short), 8),
    };
    (bytes >= header_bytes).then_some(Header { kind, bytes, header_bytes })
}

/// What each of the boxes holds, in order; ends at the first that is cut.
pub(super) fn each(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = header(bytes.get(at..)?)?;
        let end = at.checked_add(usize::try_from(header.bytes).ok()?).filter(|&end| end <= bytes.len())?;
        let body = at + header.header_bytes as usize..end;
        at = end;
        Some((header.kind, body))
    })
}

/// What the first box of a type holds.
pub(super) fn find(bytes: &[u8], wanted: [u8; 4]) -> Option<Range<usize>> {
    each(bytes).find(|(kind, _)| *kind == wanted).map(|(_, body)| body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_are_found_and_a_cut_one_is_not() {
        let bytes = b"\0\0\0\x0Aaaaa12\0\0\0\x01bbbb\0\0\0\0\0\0\0\x11x\0\0\0\x09cccc";
        let found: Vec<_> = each(bytes).collect();
        assert_eq!(found, [(*b"aaaa", 8..10), (*b"bbbb", 26..27)]);
        assert_eq!(find(bytes, *b"bbbb"), Some(26..27));
        assert_eq!(find(bytes, *b"cccc"), None);
        for sizeless in [&b"\0\0\0\0aaaa"[..], b"\0\0\0\x07aaaa", b"\0\0\0\x01aaaa\0\0\0\0\0\0\0\x0F", b"\0\0\0"] {
            assert_eq!(header(sizeless), None);
        }
    }
}
