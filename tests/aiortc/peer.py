"""A participant on aiortc, a WebRTC stack of its own: joins by a room's link with a tone, keeps what it hears, says so as JSON."""

import argparse
import asyncio
import fractions
import json
import math
import struct
import urllib.request
import wave

import av
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError

RATE = 48_000
FRAME = 960


class Tone(MediaStreamTrack):
    """A sine in frames of 20 ms, by the clock."""

    kind = "audio"

    def __init__(self, hz):
        super().__init__()
        self.hz, self.at, self.began = hz, 0, None

    async def recv(self):
        now = asyncio.get_running_loop().time()
        if self.began is None:
            self.began = now
        await asyncio.sleep(max(0.0, self.began + self.at / RATE - now))
        samples = (int(3_276 * math.sin(2 * math.pi * self.hz * (self.at + n) / RATE)) for n in range(FRAME))
        frame = av.AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(struct.pack(f"<{FRAME}h", *samples))
        frame.sample_rate, frame.pts, frame.time_base = RATE, self.at, fractions.Fraction(1, RATE)
        self.at += FRAME
        return frame


async def main(options):
    heard = bytearray()
    connection = RTCPeerConnection()
    connection.addTrack(Tone(options.tone))
    mono = av.AudioResampler(format="s16", layout="mono", rate=RATE)

    @connection.on("track")
    def on_track(track):
        async def listen():
            try:
                while True:
                    for frame in mono.resample(await track.recv()):
                        heard.extend(bytes(frame.planes[0])[: frame.samples * 2])
            except MediaStreamError:
                pass
        asyncio.ensure_future(listen())
    await connection.setLocalDescription(await connection.createOffer())
    offer, headers = connection.localDescription.sdp.encode(), {"Content-Type": "application/sdp"}
    with urllib.request.urlopen(urllib.request.Request(f"{options.url}?name=aiortc", offer, headers)) as answer:
        await connection.setRemoteDescription(RTCSessionDescription(answer.read().decode(), "answer"))
    await asyncio.sleep(options.seconds)
    print(json.dumps({"state": connection.connectionState, "samples": len(heard) // 2}))
    with wave.open(options.out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(heard)
    await connection.close()


parser = argparse.ArgumentParser()
parser.add_argument("--url", required=True)
parser.add_argument("--out", required=True)
parser.add_argument("--tone", type=float, required=True)
parser.add_argument("--seconds", type=float, required=True)
asyncio.run(main(parser.parse_args()))
