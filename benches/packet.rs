//! RTP on the wire: what each packet costs beside its system call. A tick has 20,000 µs; 200 legs read and write 400
//! packets in it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use media::Ssrc;
use media::rtp::packet::{RtpPacket, write_header};
use media::rtp::rtcp;

fn packet(c: &mut Criterion) {
    let mut plain = [0u8; 172];
    write_header(&mut plain, false, 0, 1, 160, Ssrc(7));
    c.bench_function("packet/parse", |b| b.iter(|| black_box(RtpPacket::parse(black_box(&plain)))));

    // One-byte header extension (RFC 8285) with an audio level (RFC 6464), as browsers send it.
    let mut extended = plain.to_vec();
    extended[0] |= 0x10;
    extended.splice(12..12, [0xbe, 0xde, 0, 1, 0x10, 0x85, 0, 0]);
    c.bench_function("packet/parse with audio level", |b| {
        b.iter(|| black_box(RtpPacket::parse(black_box(&extended)).and_then(|p| p.audio_level(1))));
    });

    let mut out = [0u8; 172];
    c.bench_function("packet/write header", |b| {
        b.iter(|| black_box(write_header(black_box(&mut out), false, 0, 1, 160, Ssrc(7))));
    });

    let info = rtcp::SenderInfo { ntp: 1 << 40, rtp_timestamp: 160, packets: 50, octets: 8_000 };
    let report =
        rtcp::Compound { ssrc: Ssrc(7), sender: Some(info), report: None, cname: "0123456789abcdef", bye: false };
    let mut compound = [0u8; rtcp::MAX_COMPOUND_BYTES];
    c.bench_function("packet/write RTCP", |b| b.iter(|| black_box(report.write(black_box(&mut compound)))));
    let len = report.write(&mut compound).expect("it fits");
    c.bench_function("packet/walk RTCP", |b| b.iter(|| black_box(rtcp::packets(black_box(&compound[..len])).count())));
}

criterion_group!(benches, packet);
criterion_main!(benches);
