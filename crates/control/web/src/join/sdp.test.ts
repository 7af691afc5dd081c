//! Fragments and patched answers.
import { describe, expect, it } from "vitest";
import { fragmentOf, patched } from "./sdp";

const lines = (...all: string[]) => all.map((line) => `${line}\r\n`).join("");
const OFFER = lines(
  "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0 1", "a=msid-semantic: WMS",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 0.0.0.0", "a=candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host", "a=ice-ufrag:new1", "a=ice-pwd:newpassword", "a=ice-options:trickle", "a=mid:0", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=1",
  "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=ice-ufrag:new1", "a=ice-pwd:newpassword", "a=mid:1",
);
const ANSWER = lines(
  "v=0", "o=- 9 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite", "a=group:BUNDLE 0 1",
  "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=ice-ufrag:old", "a=ice-pwd:oldpassword", "a=fingerprint:sha-256 AA", "a=setup:passive", "a=candidate:1 1 udp 1 192.0.2.9 4000 typ host", "a=end-of-candidates", "a=rtpmap:111 opus/48000/2",
  "m=video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:1", "a=ice-ufrag:old", "a=ice-pwd:oldpassword", "a=setup:passive",
);

describe("a fragment", () => {
  it("has the credentials and candidates of the bundle's section", () => {
    expect(fragmentOf(OFFER)).toBe(
      lines("a=group:BUNDLE 0 1", "m=audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=ice-ufrag:new1", "a=ice-pwd:newpassword", "a=candidate:1 1 udp 2122260223 192.0.2.1 5000 typ host"),
    );
  });
  it("finds credentials of the whole session", () => {
    const offer = lines("v=0", "a=ice-ufrag:u", "a=ice-pwd:p", "m=audio 9 X 0", "a=mid:a");
    expect(fragmentOf(offer)).toBe(lines("m=audio 9 X 0", "a=mid:a", "a=ice-ufrag:u", "a=ice-pwd:p"));
  });
  it("is none without credentials or without media", () => {
    for (const offer of ["", lines("v=0", "a=ice-ufrag:u"), lines("v=0", "m=audio 9 X 0", "a=mid:a"), lines("v=0", "m=audio 0 X 0", "a=ice-ufrag:u", "a=ice-pwd:p")]) expect(fragmentOf(offer)).toBeNull();
  });
});

describe("a patched answer", () => {
  const fragment = "a=ice-lite\na=ice-ufrag:srv\na=ice-pwd:srvpassword\nm=audio 9 X 0\na=mid:0\na=candidate:1 1 udp 1 192.0.2.9 4001 typ host\na=candidate:2 1 udp 1 192.0.2.9 4002 typ host\na=end-of-candidates\n";
  it("has the new transport and nothing else new", () => {
    const made = patched(ANSWER, fragment)!;
    expect(made.match(/a=ice-ufrag:srv\r\na=ice-pwd:srvpassword/g)).toHaveLength(2);
    expect(made).not.toContain("old");
    expect(made).not.toContain(" 4000 ");
    expect(made.match(/a=candidate:/g)).toHaveLength(2);
    // In the section that had them.
    expect(made.indexOf("4002")).toBeLessThan(made.indexOf("m=video"));
    const kept = (text: string) => text.split("\r\n").filter((line) => !/^a=(ice-ufrag|ice-pwd|candidate|end-of-candidates)/.test(line));
    expect(kept(made)).toEqual(kept(ANSWER));
  });
  it("gets candidates although the first answer had none", () => {
    const bare = ANSWER.replace(/a=(candidate|end-of).*\r\n/g, "");
    const made = patched(bare, fragment)!;
    expect(made.indexOf("4001")).toBeGreaterThan(made.indexOf("m=audio"));
    expect(made.indexOf("4001")).toBeLessThan(made.indexOf("m=video"));
  });
  it("can be patched again", () => {
    const twice = patched(patched(ANSWER, fragment)!, fragment.replace(/srv/g, "two"))!;
    expect(twice).not.toContain("srv");
    expect(twice.match(/a=candidate:/g)).toHaveLength(2);
  });
  it("leaves a rejected section alone", () => {
    const audio = ANSWER.replace("m=video 9", "m=video 0").replace(/(a=mid:1\r\n)a=ice-ufrag:old\r\na=ice-pwd:oldpassword\r\n/, "$1");
    expect(patched(audio, fragment)!.match(/a=ice-ufrag:srv/g)).toHaveLength(1);
  });
  it("is none without credentials", () => {
    for (const text of ["", "a=ice-ufrag:x", "<html>"]) expect(patched(ANSWER, text)).toBeNull();
  });
});
