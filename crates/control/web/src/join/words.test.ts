//! Languages: which is chosen, and that each says everything; reasons in words.
import { describe, expect, it } from "vitest";
import { fill, LANGUAGES, languageFor, momentIn, wordsOf } from "./language";
import { cameraTrouble, ending, isAboutPin, microphoneTrouble, passes, reason, whyOfInfo } from "./reasons";
import type { Why } from "./session";
import type { Info } from "./types";
import { en } from "./words/en";

it.each([["de", "de"], ["de-AT", "de"], ["zh-Hant-TW", "zh"], ["PT_br", "pt"], ["nl", "en"], ["", "en"], [null, "en"], ["english", "en"]])("%s is spoken in %s", (tag, language) => {
  expect(languageFor(tag)).toBe(language);
});

describe.each(LANGUAGES)("%s", (language) => {
  it("says everything, with the same gaps", async () => {
    const { words, language: got } = await wordsOf(language);
    expect(got).toBe(language);
    expect(Object.keys(words)).toEqual(Object.keys(en));
    const gaps = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();
    for (const key of Object.keys(en) as (keyof typeof en)[]) {
      expect(words[key].trim(), key).not.toBe("");
      expect(gaps(words[key]), key).toEqual(gaps(en[key]));
    }
    if (language !== "en") expect(words.mute).not.toBe(en.mute);
  });
});

it("gaps are filled once, with text as it is", () => {
  expect(fill("{a} and {b}", { a: "{b}", b: "$&" })).toBe("{b} and $&");
  expect(fill("{c}", {})).toBe("{c}");
});

describe("reasons", () => {
  const why = (code: string, more: Partial<Why> = {}): Why => ({ code, status: 403, message: "", startsAt: null, retryAfter: null, ...more });
  const info = (state: Info["state"]): Info => ({
    room: { subject: "", extension_number: "1", mode: "AUDIO", language: "en", locked: false, scheduled_start_at: "2031-05-06T07:00:00Z", scheduled_end_at: null },
    state, needs_pin: false, name: null, role: "PARTICIPANT", ice_servers: [],
  });
  it("are plain for every code", () => {
    const codes = ["LOCKED", "FULL", "UNAVAILABLE", "NOT_FOUND", "PIN_REQUIRED", "PIN_WRONG", "PIN_CLOSED", "FORBIDDEN", "BUSY", "UNREACHABLE", "NO_MEDIA", "NO_WEBRTC", "NOT_STARTED"];
    const said = codes.map((code) => reason(why(code), en, "en"));
    expect(new Set(said).size).toBe(codes.length);
    expect(reason(why("CAPACITY_EXCEEDED"), en, "en")).toBe(reason(why("FULL"), en, "en"));
    expect(reason(why("PIN_CLOSED", { retryAfter: 42 }), en, "en")).toContain("42");
    expect(reason(why("VALIDATE_FAILED", { message: "No audio line." }), en, "en")).toContain("No audio line.");
  });
  it("say when it begins, where the visitor is", () => {
    const said = reason(whyOfInfo(info("NOT_STARTED"))!, en, "en", "Europe/Berlin");
    expect(said).toMatch(/May 6, 2031/);
    expect(said).toMatch(/9:00\sAM GMT\+2/);
    expect(momentIn("de", "2031-05-06T07:00:00Z", "Europe/Berlin")).toContain("09:00");
    expect(momentIn("en", "never")).toBeNull();
  });
  it("of the link are none when it is open", () => {
    expect(whyOfInfo(info("OPEN"))).toBeNull();
    expect(whyOfInfo(info("FULL"))?.code).toBe("FULL");
  });
  it("pass by themselves, or do not", () => {
    expect(["LOCKED", "FULL", "NOT_STARTED", "BUSY"].every((code) => passes(why(code)))).toBe(true);
    expect(["NOT_FOUND", "PIN_WRONG", "FORBIDDEN"].some((code) => passes(why(code)))).toBe(false);
    expect([isAboutPin(why("PIN_CLOSED")), isAboutPin(why("LOCKED")), isAboutPin(null)]).toEqual([true, false, false]);
  });
  it("are told for devices and ends", () => {
    expect(new Set((["insecure", "denied", "none", "busy"] as const).map((one) => microphoneTrouble(one, en))).size).toBe(4);
    expect(cameraTrouble("none", en)).toBe(en.trouble_cam_none);
    expect([ending("REMOVED", en), ending("MEDIA_LOST", en)]).toEqual([en.ended_removed, en.ended_other]);
  });
});
