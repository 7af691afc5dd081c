//! What the console makes of events, names, figures and refusals.
import { describe, expect, it } from "vitest";
import { refusals } from "./api";
import { matches, told } from "./events";
import { backOff } from "../shared/back_off";
import { eventFrom } from "./live";
import { loss, quality } from "./roster";
import { placeOf } from "./router";
import type { Stats } from "./types";
import { bytes, duration, nameOf } from "./ui";

const event = (type: string, data: Record<string, unknown>) => ({ cursor: 1, type, at: "", room_id: null, extension_number: "900", data });
const stats = (received: number, lost: number, more: Partial<Stats> = {}): Stats => ({ packets_received: received, packets_lost: lost, frames_concealed: 0, jitter_ms: 1, delay_ms: 20, rtt_ms: null, ...more });

describe("events", () => {
  it("are read, and what is none is passed over", () => {
    expect(eventFrom('{"cursor":7,"type":"room.locked"}')).toMatchObject({ cursor: 7, type: "room.locked", data: {} });
    for (const text of ["", "null", "[]", '{"type":"a"}', "{"]) expect(eventFrom(text)).toBeNull();
  });
  it("are told in one line and found by it", () => {
    const left = event("participant.left", { display_name: '"Ada"<sip:101@host>', state: "IN_MENU", reason: "BYE" });
    expect(told(left)).toBe("Ada · in menu · BYE");
    expect(matches(left, "participant.", "ada")).toBe(true);
    expect(matches(left, "room.", "")).toBe(false);
    expect(matches(left, "", "900")).toBe(true);
    expect(matches(left, "", "bob")).toBe(false);
  });
  it("are asked for again ever more slowly, within bounds", () => {
    expect(backOff(0, 1)).toBe(1_000);
    expect(backOff(100, 1)).toBe(30_000);
    expect(backOff(100, 0)).toBe(15_000);
  });
});

describe("a participant", () => {
  it.each([
    ['"Bob"<sip:101@host>', "Bob"],
    ['"A \\"B\\" C" <sip:1@h>', 'A "B" C'],
    ["<sip:101@host>", "101"],
    ['""<sip:101@host>', "101"],
    ["Bob <sip:101@host>", "Bob"],
  ])("%s is called %s", (display, name) => expect(nameOf(display)).toBe(name));
  it("has lost what was lost since the last look", () => {
    expect(loss(stats(200, 50), stats(110, 40))).toBeCloseTo(10);
    expect(loss(stats(90, 10), null)).toBeCloseTo(10);
    // Counters that fell are of another leg.
    expect(loss(stats(9, 1), stats(100, 0))).toBeCloseTo(10);
    expect(loss(stats(0, 0), null)).toBe(0);
  });
  it("is heard well or not", () => {
    expect(quality(0, stats(1, 0))).toBe("good");
    expect(quality(2, stats(1, 0))).toBe("fair");
    expect(quality(0, stats(1, 0, { rtt_ms: 600 }))).toBe("poor");
  });
});

it("refusals are the API's own words, whatever comes", () => {
  expect(refusals(409, { errors: [{ code: "RESOURCE_IN_USE", message: "taken", detail: { field: "name" } }] })).toEqual([{ code: "RESOURCE_IN_USE", message: "taken", detail: { field: "name" } }]);
  for (const body of [null, "x", {}, { errors: [] }, { errors: [null] }]) expect(refusals(502, body)[0]?.message).toContain("502");
});

it("figures are for people", () => {
  expect([duration(null), duration(65), duration(3661)]).toEqual(["–", "1:05", "1:01:01"]);
  expect([bytes(null), bytes(999), bytes(1_500_000)]).toEqual(["–", "999 B", "1.5 MB"]);
});

it("addresses name their view", () => {
  expect(placeOf("/console/rooms/a%3D%3D/edit", "").parts).toEqual(["rooms", "a==", "edit"]);
  expect(placeOf("/console", "").parts).toEqual([]);
  expect(placeOf("/console/%E0", "").parts).toEqual(["%E0"]);
});
