//! Ogg pages (RFC 3533) that carry one mono Opus stream (RFC 7845): building, checking, marking the end.
//! Bytes only: no file, no thread, no rooms. The crate `ogg` reads these pages back in the tests; it is not used to
//! write them because recovery must know where each page lies and must set a flag in a page that is already written,
//! which need the checksum that the crate keeps to itself.

/// What an Opus decoder must throw away at the start, in 48 kHz samples (RFC 7845 §4.2): the look-ahead of libopus in
/// VOIP mode at 48 kHz (Fs/400 + Fs/250). A test asks the encoder.
pub(super) const PRE_SKIP: u16 = 312;

/// 48 kHz samples in one packet of 20 ms.
pub(super) const PACKET_SAMPLES: u64 = 960;

/// Packets on a full page: one second.
pub(super) const PAGE_PACKETS: usize = 50;

/// The largest page there can be: header, 255 lacing values, 255 segments of 255 bytes (RFC 3533 §6).
pub(super) const MAX_PAGE_BYTES: usize = HEADER_BYTES + 255 + 255 * 255;

/// A page header up to the number of segments.
pub(super) const HEADER_BYTES: usize = 27;

const CONTINUED: u8 = 0x01;
const FIRST: u8 = 0x02;
const LAST: u8 = 0x04;

const FLAGS_AT: usize = 5;
const GRANULE_AT: usize = 6;
const SERIAL_AT: usize = 14;
const SEQUENCE_AT: usize = 18;
const CHECKSUM_AT: usize = 22;
const SEGMENTS_AT: usize = 26;

/// Builds the pages of one stream, one at a time, into buffers that are used again.
#[derive(Debug)]
pub(super) struct PageBuilder {
    serial: u32,
    sequence: u32,
    /// 48 kHz samples of all packets so far; the granule position of the page in hand (RFC 7845 §4).
    samples: u64,
    packets: usize,
    lacing: Vec<u8>,
    body: Vec<u8>,
    page: Vec<u8>,
}

impl PageBuilder {
    /// Nothing but the serial number that tells streams apart.
    pub(super) fn new(serial: u32) -> Self {
        Self {
            serial,
            sequence: 0,
            samples: 0,
            packets: 0,
            lacing: Vec::with_capacity(2 * PAGE_PACKETS + 2),
            body: Vec::new(),
            page: Vec::new(),
        }
    }

    /// The two header pages: `OpusHead` alone on the first, `OpusTags` on the second (RFC 7845 §3).
    pub(super) fn headers(&mut self) -> Vec<u8> {
        let mut head = b"OpusHead".to_vec();
        head.extend_from_slice(&[1, 1]); // version, channels
        head.extend_from_slice(&PRE_SKIP.to_le_bytes());
        head.extend_from_slice(&48_000u32.to_le_bytes()); // rate of the input, for information only
        head.extend_from_slice(&[0, 0, 0]); // output gain, mapping family 0
        self.lace(&head);
        let mut pages = self.take_page(FIRST, 0).to_vec();

        let vendor = b"conclave";
        let mut tags = b"OpusTags".to_vec();
        tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
        tags.extend_from_slice(vendor);
        tags.extend_from_slice(&0u32.to_le_bytes());
        self.lace(&tags);
        pages.extend_from_slice(self.take_page(0, 0));
        pages
    }

    /// Adds a packet of 20 ms. The caller takes the page when it `is_full`.
    pub(super) fn push(&mut self, packet: &[u8]) {
        self.lace(packet);
        self.packets += 1;
        self.samples += PACKET_SAMPLES;
    }

    /// It holds a second.
    pub(super) const fn is_full(&self) -> bool {
        self.packets >= PAGE_PACKETS
    }

    /// It holds no packet.
    pub(super) const fn is_empty(&self) -> bool {
        self.packets == 0
    }

    /// 48 kHz samples of all packets so far.
    pub(super) const fn samples(&self) -> u64 {
        self.samples
    }

    /// The page in hand as bytes, and an empty one in its place.
    pub(super) fn page(&mut self) -> &[u8] {
        self.take_page(0, self.samples)
    }

    /// The last page, which trims what plays to `granule` (RFC 7845 §4.4).
    pub(super) fn last_page(&mut self, granule: u64) -> &[u8] {
        self.take_page(LAST, granule)
    }

    fn lace(&mut self, packet: &[u8]) {
        let whole_segments = packet.len() / 255;
        self.lacing.extend(std::iter::repeat_n(255, whole_segments));
        self.lacing.push((packet.len() % 255) as u8);
        self.body.extend_from_slice(packet);
    }

    fn take_page(&mut self, flags: u8, granule: u64) -> &[u8] {
        let segments = u8::try_from(self.lacing.len()).expect("BUG: a second of packets fits 255 segments");
        self.page.clear();
        self.page.extend_from_slice(b"OggS\0");
        self.page.push(flags);
        self.page.extend_from_slice(&granule.to_le_bytes());
        self.page.extend_from_slice(&self.serial.to_le_bytes());
        self.page.extend_from_slice(&self.sequence.to_le_bytes());
        self.page.extend_from_slice(&[0; 4]);
        self.page.push(segments);
        self.page.append(&mut self.lacing);
        self.page.append(&mut self.body);
        write_checksum(&mut self.page);
        self.sequence = self.sequence.wrapping_add(1);
        self.packets = 0;
        &self.page
    }
}

/// A page found in a file, its checksum right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    flags: u8,
    /// 48 kHz samples from the start to the end of the last packet that ends here.
    pub(super) granule: u64,
    /// Which stream.
    pub(super) serial: u32,
    /// Counts the pages of the stream.
    pub(super) sequence: u32,
    /// Header, lacing values and body.
    pub(super) bytes: usize,
    /// Where in these the packets begin.
    pub(super) body_at: usize,
    ends_within_packet: bool,
}

impl Page {
    /// The stream begins here.
    pub(super) const fn is_first(&self) -> bool {
        self.flags & FIRST != 0
    }
    /// The stream is marked as ending here.
    pub(super) const fn is_last(&self) -> bool {
        self.flags & LAST != 0
    }
    /// Every packet on it begins and ends on it, as on all pages that we write.
    pub(super) const fn is_whole(&self) -> bool {
        self.flags & CONTINUED == 0 && !self.ends_within_packet
    }
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A page.
    Page(Page),
    /// Perhaps a page, if more bytes came.
    Short,
    /// No page.
    Nothing,
}

/// Looks for a page at the very start of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    if bytes.iter().zip(b"OggS\0").any(|(found, wanted)| found != wanted) {
        return Parsed::Nothing;
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Parsed::Short };
    let [flags] = field(header, FLAGS_AT);
    let [segments] = field(header, SEGMENTS_AT);
    let Some((lacing, rest)) = rest.split_at_checked(usize::from(segments)) else { return Parsed::Short };
    let body_bytes = lacing.iter().map(|&segment| usize::from(segment)).sum();
    let Some(body) = rest.get(..body_bytes) else { return Parsed::Short };

    let mut unsigned = *header;
    if let Some(checksum) = unsigned.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) {
        checksum.fill(0);
    }
    if crc(crc(crc(0, &unsigned), lacing), body) != u32::from_le_bytes(field(header, CHECKSUM_AT)) {
        return Parsed::Nothing;
    }
    let body_at = HEADER_BYTES + lacing.len();
    Parsed::Page(Page {
        flags,
        granule: u64::from_le_bytes(field(header, GRANULE_AT)),
        serial: u32::from_le_bytes(field(header, SERIAL_AT)),
        sequence: u32::from_le_bytes(field(header, SEQUENCE_AT)),
        bytes: body_at + body_bytes,
        body_at,
        ends_within_packet: lacing.last().is_none_or(|&segment| segment == 255),
    })
}

fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    header.get(at..).and_then(<[u8]>::first_chunk).copied().expect("BUG: the field lies in the header")
}

/// Marks a whole page as the last of its stream.
pub(super) fn mark_last(page: &mut [u8]) {
    if let Some(flags) = page.get_mut(FLAGS_AT) {
        *flags |= LAST;
    }
    write_checksum(page);
}

fn write_checksum(page: &mut [u8]) {
    let Some(field) = page.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) else { return };
    field.fill(0);
    let checksum = crc(0, page);
    if let Some(field) = page.get_mut(CHECKSUM_AT..CHECKSUM_AT + 4) {
        field.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// The checksum of RFC 3533 §6: polynomial 0x04C11DB7, no reflection, no inversion.
fn crc(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, &byte| {
        let at = (crc >> 24) as u8 ^ byte;
        (crc << 8) ^ CRC_TABLE.get(usize::from(at)).copied().unwrap_or(0)
    })
}

static CRC_TABLE: [u32; 256] = crc_table();

const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let mut value = (at as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 0x8000_0000 == 0 { value << 1 } else { (value << 1) ^ 0x04C1_1DB7 };
            bit += 1;
        }
        table[at] = value;
        at += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::codec::opus::SILENCE;
    use opus::{Application, Channels, Decoder, Encoder};

    #[test]
    fn pre_skip_is_the_lookahead_of_the_encoder() {
        let mut encoder = Encoder::new(48_000, Channels::Mono, Application::Voip).unwrap();
        assert_eq!(encoder.get_lookahead().unwrap(), i32::from(PRE_SKIP));
    }

    #[test]
    fn silence_packet_decodes_to_20_ms_of_silence() {
        let mut decoder = Decoder::new(48_000, Channels::Mono).unwrap();
        let mut pcm = [1i16; 5760];
        for _ in 0..10 {
            assert_eq!(decoder.decode(&SILENCE, &mut pcm, false).unwrap(), 960);
            assert!(pcm[..960].iter().all(|&sample| sample == 0));
        }
    }

    #[test]
    fn packets_of_every_size_come_back_from_another_reader() {
        let mut builder = PageBuilder::new(7);
        let mut bytes = builder.headers();
        let packets: Vec<Vec<u8>> = (1..=400usize).map(|n| vec![n as u8; n]).collect();
        for packet in &packets {
            builder.push(packet);
            if builder.is_full() {
                bytes.extend_from_slice(builder.page());
            }
        }
        builder.push(&SILENCE);
        bytes.extend_from_slice(builder.last_page(400 * 960 + 312));
        let mut reader = ogg::PacketReader::new(std::io::Cursor::new(bytes));
        assert_eq!(&reader.read_packet().unwrap().unwrap().data[..8], b"OpusHead");
        assert_eq!(&reader.read_packet().unwrap().unwrap().data[..8], b"OpusTags");
        for (at, packet) in packets.iter().enumerate() {
            let read = reader.read_packet().unwrap().unwrap();
            assert_eq!(&read.data, packet);
            assert_eq!(read.absgp_page(), (at as u64 / 50 + 1) * 48_000);
        }
        let last = reader.read_packet().unwrap().unwrap();
        assert!(last.last_in_stream());
        assert_eq!(last.absgp_page(), 400 * 960 + 312);
        assert!(reader.read_packet().unwrap().is_none());
    }

    #[test]
    fn cut_or_damaged_page_is_not_a_page() {
        let mut builder = PageBuilder::new(7);
        builder.push(&[1; 300]);
        let page = builder.page().to_vec();
        assert!(matches!(parse(&page), Parsed::Page(found) if found.bytes == page.len() && found.is_whole()));
        for cut in 0..page.len() {
            assert_eq!(parse(&page[..cut]), Parsed::Short, "cut at {cut}");
        }
        for at in 0..page.len() {
            let mut damaged = page.clone();
            damaged[at] ^= 0x10;
            assert!(!matches!(parse(&damaged), Parsed::Page(_)), "damage at {at}");
        }
    }

    #[test]
    fn marked_page_is_a_good_last_page() {
        let mut builder = PageBuilder::new(7);
        builder.push(&SILENCE);
        let mut page = builder.page().to_vec();
        mark_last(&mut page);
        assert!(matches!(parse(&page), Parsed::Page(found) if found.is_last() && found.granule == 960));
    }
}
