//! Layouts, addresses, and what comes from elsewhere: storage, streams, devices, headers.
import { describe, expect, it } from "vitest";
import { endFrom, retryAfter, tokenIn, viewFrom } from "./api";
import { boxesOf, LAYOUTS, positionsOf, tilesOf } from "./layouts";
import { troubleOf } from "./media";
import { rememberedFrom } from "./remember";

describe("layouts", () => {
  it("have as many tiles as their name says, and cover the picture once", () => {
    for (const [width, height] of [[1280, 720], [720, 1280], [640, 480]] as const) {
      for (const layout of LAYOUTS) {
        const boxes = boxesOf(layout, width, height);
        expect(boxes).toHaveLength(tilesOf(layout) || 4);
        expect(boxes.reduce((sum, box) => sum + box.width * box.height, 0)).toBe(1_000_000);
        for (const box of boxes) expect(Math.min(box.x, box.y, 1_000 - box.x - box.width, 1_000 - box.y - box.height)).toBeGreaterThanOrEqual(0);
      }
    }
  });
  it("are those of the media server", () => {
    expect(boxesOf("LAYOUT3", 1280, 720)[0]).toEqual({ x: 0, y: 0, width: 667, height: 1000 });
    expect(boxesOf("LAYOUT3", 640, 480)[0]).toEqual({ x: 0, y: 0, width: 1000, height: 667 });
    expect(boxesOf("LAYOUT6", 1280, 720)[1]).toEqual({ x: 667, y: 0, width: 333, height: 333 });
    expect(boxesOf("LAYOUT8", 1280, 720)[7]).toEqual({ x: 750, y: 750, width: 250, height: 250 });
    expect(boxesOf("LAYOUT2", 600, 800)[1]).toEqual({ x: 0, y: 500, width: 1000, height: 500 });
  });
  it("offer positions", () => {
    expect([positionsOf("LAYOUT0"), positionsOf("LAYOUT4"), positionsOf("x")]).toEqual([9, 4, 9]);
  });
});

it("the token is the last segment", () => {
  expect(["/r/abc", "/r/abc/", "/x/r/a%2Fb", "/r/%E0", ""].map(tokenIn)).toEqual(["abc", "abc", "a/b", "%E0", ""]);
});

describe("what comes from elsewhere", () => {
  it("is a view, or it is not", () => {
    expect(viewFrom('{"participant":"a","room":{},"participants":[]}')).toMatchObject({ participant: "a", tiles: [] });
    for (const text of ["", "null", "{}", '{"participant":1}', '{"participant":"a","room":null,"participants":[]}']) expect(viewFrom(text)).toBeNull();
  });
  it("is an end, whatever it says", () => {
    expect(['{"reason":"REMOVED"}', '{"reason":"SOMETHING"}', "null", "{"].map(endFrom)).toEqual(["REMOVED", "ENDED", "ENDED", "ENDED"]);
  });
  it("is a time to wait", () => {
    expect(retryAfter("30", 0)).toBe(30);
    expect(retryAfter("Thu, 01 Jan 1970 00:01:00 GMT", 0)).toBe(60);
    expect([retryAfter(null, 0), retryAfter("", 0), retryAfter("soon", 0)]).toEqual([null, null, null]);
  });
  it("is remembered, or is not ours", () => {
    expect(rememberedFrom('{"name":"Ann","muted":true,"devices":{"audioinput":"m"}}')).toEqual({ name: "Ann", muted: true, camera: true, shortcuts: true, devices: { audioinput: "m", videoinput: "", audiooutput: "" } });
    for (const text of [null, "", "[]", "1", '{"name":5,"devices":7}']) expect(rememberedFrom(text)).toMatchObject({ name: "", muted: false });
  });
  it("is a device's trouble", () => {
    const named = (name: string) => Object.assign(new Error(), { name });
    expect(["NotAllowedError", "NotFoundError", "NotReadableError", "OverconstrainedError"].map((name) => troubleOf(named(name)))).toEqual(["denied", "none", "busy", "none"]);
    expect(troubleOf(null)).toBe("none");
  });
});
