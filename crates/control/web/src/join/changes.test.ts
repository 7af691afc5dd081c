//! What is announced of a new view, and what becomes of the microphone.
import { describe, expect, it } from "vitest";
import { changes } from "./changes";
import { isOpen, micNews } from "./mic";
import { changeText } from "./told";
import type { Person, View } from "./types";
import { en } from "./words/en";

const person = (id: string, more: Partial<Person> = {}): Person => ({ id, name: `N${id}`, muted: false, chairman: false, talking: false, hand_raised: false, position: -1, pinned: false, video: false, ...more });
const view = (more: Partial<View> = {}, room: Partial<View["room"]> = {}): View => ({
  participant: "me", state: "JOINED", muted: false, may_unmute: true, chairman: false, hand_raised: false,
  room: { subject: "", mode: "VIDEO", layout: "LAYOUT4", width: 1280, height: 720, locked: false, muted: false, recording: false, control: "FREE", language: "en", ...room },
  participants: [person("me")], tiles: [], ...more,
});

describe("changes", () => {
  it("are none of the first view, and none of who talks", () => {
    expect(changes(null, view({ participants: [person("a")] }))).toEqual([]);
    expect(changes(view(), view({ participants: [person("me", { talking: true, position: 3 })] }))).toEqual([]);
  });
  it("name who came and went", () => {
    const more = view({ participants: [person("me"), person("a"), person("b")] });
    expect(changes(view(), more)).toEqual([{ is: "came", name: "Na" }, { is: "came", name: "Nb" }]);
    expect(changes(more, view())).toEqual([{ is: "went", name: "Na" }, { is: "went", name: "Nb" }]);
  });
  it("count many at once", () => {
    const many = view({ participants: [person("me"), ...["a", "b", "c", "d"].map((id) => person(id))] });
    expect(changes(view(), many)).toEqual([{ is: "many_came", count: 4 }]);
    expect(changes(many, view())).toEqual([{ is: "many_went", count: 4 }]);
  });
  it("tell of hands and chairmen, others' by name and one's own", () => {
    const before = view({ participants: [person("me"), person("a")], hand_raised: true });
    const after = view({ chairman: true, participants: [person("me", { chairman: true }), person("a", { hand_raised: true, chairman: true })] });
    expect(changes(before, after)).toEqual([{ is: "hand", name: "Na" }, { is: "chairman", name: "Na" }, { is: "you_chairman" }, { is: "hand_lowered" }]);
    expect(changes(after, before)).toEqual([{ is: "you_no_chairman" }]);
  });
  it("tell of the room", () => {
    const on = view({}, { locked: true, recording: true, muted: true });
    expect(changes(view(), on).map((one) => one.is)).toEqual(["locked", "recording", "all_muted"]);
    expect(changes(on, view()).map((one) => one.is)).toEqual(["unlocked", "recording_over", "all_unmuted"]);
  });
  it("are no crowd when the conference begins, or when one came anew", () => {
    const full = view({ participants: [person("me"), person("a")] });
    expect(changes(view({ state: "WAITING", participants: [] }), full)).toEqual([{ is: "entered" }]);
    expect(changes(view({ participant: "old", participants: [person("old")] }), full)).toEqual([]);
  });
  it("have words", () => {
    expect(changeText({ is: "came", name: "<b>{count}</b>" }, en)).toBe("<b>{count}</b> has joined.");
    expect(changeText({ is: "many_went", count: 7 }, en)).toContain("7");
  });
});

describe("a microphone", () => {
  const open = { closed: false, pending: 0 };
  const closed = { closed: true, pending: 0 };
  it("is open when neither its owner nor the room closed it", () => {
    expect([isOpen(open, false), isOpen(open, true), isOpen(closed, false), isOpen(closed, true)]).toEqual([true, false, false, false]);
  });
  it("is muted and unmuted by the chairman", () => {
    expect(micNews(open, false, true)).toBe("muted");
    expect(micNews(open, true, false)).toBe("unmuted");
  });
  it("is opened by nobody but its owner when its owner closed it", () => {
    expect(micNews(closed, true, false)).toBe("asked");
    expect(micNews(closed, false, true)).toBeNull();
  });
  it("is no news when nothing changed, at first, or while an own wish is under way", () => {
    expect(micNews(open, null, true)).toBeNull();
    expect(micNews(open, true, true)).toBeNull();
    expect(micNews({ closed: true, pending: 1 }, true, false)).toBeNull();
  });
});
