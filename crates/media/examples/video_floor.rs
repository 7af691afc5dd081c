//! What the codecs alone cost for a room's picture, without a server: as many copies of one stream are decoded, scaled into a
//! layout and encoded once at 1280×720, 1 Mbit/s, at the stream's own pace of pictures. Prints the CPU time of it for each
//! second of the stream; the server's figures are compared with it.
//!
//! `cargo run --release -p media --example video_floor -- STREAM.h264 COPIES LAYOUT PICTURES_A_SECOND`

use std::io::Write;
use std::time::Duration;

use media::video::VideoCodec;
use media::video::access_unit::AccessUnit;
use media::video::canvas::{Canvas, Face, Show};
use media::video::codec::{Decoder, Encoder, EncoderSettings};
use media::{Bitrate, FrameRate, Layout, LegId, Resolution};
use nix::time::{ClockId, clock_gettime};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, copies, layout, rate] = arguments.as_slice() else { panic!("STREAM COPIES LAYOUT PICTURES_A_SECOND") };
    let copies: usize = copies.parse().expect("a number of copies");
    let layout = layout.parse().ok().and_then(Layout::from_number).expect("a layout, 1 to 9");
    let rate: u32 = rate.parse().expect("pictures a second");
    let units = access_units(&std::fs::read(path).expect("a stream"));
    let size = Resolution::new(1280, 720).expect("a size");
    let framerate = FrameRate::per_second(rate);
    let settings = EncoderSettings { resolution: size, framerate, bitrate: Bitrate::kbps(1000) };
    let mut encoder = Encoder::new(VideoCodec::H264, settings).expect("an encoder");
    let mut decoders: Vec<Decoder> = (0..copies).map(|_| Decoder::new(VideoCodec::H264).expect("a decoder")).collect();
    let mut canvas = Canvas::new(size, layout, false);
    let mut out = AccessUnit::empty(VideoCodec::H264);
    let begun = cpu();
    for (number, unit) in units.iter().enumerate() {
        for (tile, decoder) in decoders.iter_mut().enumerate() {
            let drawn = decoder.decode(unit, |view| {
                let face = Face {
                    leg: LegId(tile as u64),
                    name: "",
                    show: Show::Picture(view),
                    is_muted: false,
                    is_talking: false,
                };
                canvas.draw(tile, &face)
            });
            drawn.expect("a stream that decodes");
        }
        let at = framerate.due(number as u64);
        encoder.encode(canvas.picture().view(), at, number == 0, &mut out).expect("an encode");
    }
    let seconds = units.len() as f64 / f64::from(rate);
    let cost = (cpu() - begun).as_secs_f64() * 1000.0 / seconds;
    writeln!(std::io::stdout(), "{cost:.0} ms of CPU a second").expect("standard output");
}

fn cpu() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock"))
}

/// One picture each: everything up to the next unit that begins a picture (RFC 6184 §1.3: slices are types 1 and 5, and one
/// whose first bit after the header is set is the first of its picture).
fn access_units(stream: &[u8]) -> Vec<AccessUnit> {
    let starts: Vec<usize> =
        stream.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at + 3).collect();
    let mut units = Vec::new();
    let mut open = AccessUnit::empty(VideoCodec::H264);
    let mut has_slice = false;
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(stream.len(), |next| next - 3);
        let nal = &stream[*start..end];
        let nal = &nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
        let Some((head, body)) = nal.split_first() else { continue };
        let kind = head & 0x1f;
        let is_slice = matches!(kind, 1 | 5);
        if has_slice && (!is_slice || body.first().is_some_and(|byte| byte & 0x80 != 0)) {
            units.push(std::mem::replace(&mut open, AccessUnit::empty(VideoCodec::H264)));
            has_slice = false;
        }
        open.bytes.extend_from_slice(&[0, 0, 0, 1]);
        let from = open.bytes.len();
        open.bytes.extend_from_slice(nal);
        open.units.push(from..open.bytes.len());
        open.is_keyframe |= kind == 5;
        has_slice |= is_slice;
    }
    units.push(open);
    units
}
