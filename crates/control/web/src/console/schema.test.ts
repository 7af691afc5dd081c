//! Forms made of the API's real description, and bodies made of what was typed.
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bodyFrom, bodyOf, complaint, fieldsOf, flat, valuesOf, type Description, type FormField } from "./schema";
import { kindsIn } from "./live";
import { grouped, helpOf, inWords, labelOf } from "./words";

const api = JSON.parse(readFileSync(new URL("../../../../../config/openapi.json", import.meta.url), "utf8")) as Description;
const ROOMS = "/api/conference_rooms";
const making = bodyOf(api, ROOMS)!;
const changing = bodyOf(api, `${ROOMS}/{id}`)!;
const named = (fields: FormField[], name: string): FormField => fields.find((field) => field.name === name)!;

describe("fields of a new room", () => {
  const fields = fieldsOf(api, making);
  it("have the API's types, limits and choices", () => {
    expect(named(fields, "capacity")).toMatchObject({ kind: "number", min: 1, max: 200, required: true, nullable: false });
    expect(named(fields, "layout")).toMatchObject({ kind: "choice", nullable: true, preset: "LAYOUT0" });
    expect(named(fields, "layout").options).toHaveLength(10);
    expect(named(fields, "mode")).toMatchObject({ kind: "choice", options: ["AUDIO", "VIDEO"], required: true });
    expect(named(fields, "enable_prompt")).toMatchObject({ kind: "switch", preset: true });
    expect(named(fields, "scheduled_start_at").kind).toBe("time");
    expect(named(fields, "room_pin")).toMatchObject({ kind: "text", numeric: true, nullable: true });
    expect(named(fields, "custom_options").kind).toBe("long");
    expect(named(fields, "internal_invitees").kind).toBe("words");
    expect(named(fields, "outbound_caller_ids").columns.map((column) => column.name).sort()).toEqual(["caller_id", "description", "provider_id"]);
  });
  it("are each in one group, whatever the API adds", () => {
    const strange = { ...named(fields, "subject"), name: "brand_new" };
    const shown = grouped([...fields, strange]).flatMap((group) => group.fields.map((field) => field.name));
    expect([...shown].sort()).toEqual([...fields.map((field) => field.name), "brand_new"].sort());
    expect(labelOf("brand_new")).toBe("Brand new");
  });
  it("send what was typed, and nothing for what was not", () => {
    const values = { ...valuesOf(fields), extension_number: "900", subject: "A", mode: "VIDEO", capacity: "9", internal_invitees: "a, b\nc", room_pin: "" };
    const body = bodyFrom(fields, values);
    expect(body).toMatchObject({ extension_number: "900", subject: "A", mode: "VIDEO", capacity: 9, bitrate: 1024, enable_prompt: true, internal_invitees: ["a", "b", "c"] });
    expect(body).not.toHaveProperty("room_pin");
  });
  it("leave to the API what is no number", () => {
    expect(bodyFrom(fields, { capacity: "many" })).toEqual({ capacity: "many" });
  });
});

describe("fields of a room that is there", () => {
  const fields = fieldsOf(api, changing, making);
  const room = { extension_number: "900", mode: "AUDIO", subject: "A", capacity: 9, room_pin: "123", enable_recording: true, scheduled_start_at: "2030-07-21T17:00:00Z" };
  it("fix what cannot be changed", () => {
    const fixed = fields.filter((field) => field.fixed).map((field) => field.name);
    expect(fixed.sort()).toEqual(["enable_recording", "extension_number", "mode"]);
  });
  it("send only what was changed, and null for what was emptied", () => {
    const before = valuesOf(fields, room);
    expect(bodyFrom(fields, before, before)).toEqual({});
    expect(bodyFrom(fields, { ...before, subject: "B", room_pin: "", mode: "VIDEO" }, before)).toEqual({ subject: "B", room_pin: null });
  });
  it("keep an instant over the way through local time", () => {
    const start = named(fields, "scheduled_start_at");
    const values = valuesOf([start], room);
    expect(bodyFrom([start], values)).toEqual({ scheduled_start_at: "2030-07-21T17:00:00.000Z" });
  });
  it("do not show a default as the room's own value", () => {
    expect(valuesOf(fieldsOf(api, making), { bitrate: null }).bitrate).toBe("");
  });
});

describe("what is told before the API is asked", () => {
  const fields = fieldsOf(api, making);
  it.each([
    ["capacity", "", "This is needed."],
    ["capacity", "0", "This must be from 1 to 200."],
    ["capacity", "200", null],
    ["capacity", "1.5", "This must be a whole number."],
    ["extension_number", "12", "This needs at least 3 characters."],
    ["extension_number", "12a", "This takes digits only."],
    ["room_pin", "", null],
    ["subject", "x".repeat(65), "This may have at most 64 characters."],
  ])("%s %j", (name, value, told) => expect(complaint(named(fields, name), value)).toBe(told));
});

describe("other forms of the API", () => {
  it("have fields too", () => {
    expect(fieldsOf(api, bodyOf(api, "/api/conference_servers")!).map((field) => field.name)).toContain("max_rooms");
    const types = named(fieldsOf(api, bodyOf(api, "/api/webhooks")!), "types");
    expect(types.kind).toBe("kinds");
    expect(types.options).toContain("recording.finished");
  });
  it("end, even where a schema holds itself", () => {
    const all = { Loop: { allOf: [{ $ref: "#/components/schemas/Loop" }], description: "round" } };
    expect(flat({ $ref: "#/components/schemas/Loop" }, all).description).toBe("round");
  });
  it("name every kind of event, as the stream dispatches by it", () => {
    const kinds = kindsIn(api as never);
    expect(kinds).toContain("participant.hand_raised");
    expect(kinds).toContain("stream.gap");
    expect(kinds.every((kind) => !kind.endsWith("."))).toBe(true);
  });
});

it("help calls other fields as the form does, and knows no null", () => {
  const fields = fieldsOf(api, changing, making);
  expect(helpOf(named(fields, "room_pin"))).toContain("differ from Chairman's PIN");
  expect(helpOf(named(fields, "bitrate"))).toContain("Empty: 1024 again.");
  expect(fields.map(helpOf).join(" ")).not.toMatch(/`|Null takes/);
});

it("refusals are sentences, and call fields as the form does", () => {
  expect(inWords("admin_pin and room_pin must differ")).toBe("Chairman's PIN and Room PIN must differ.");
  expect(inWords("`scheduled_end_at` must be later")).toBe("Ends at must be later.");
  expect(inWords("url must be an http or https URL")).toBe("URL must be an http or https URL.");
  expect(inWords("another server is named my_server")).toBe("Another server is named my_server.");
  expect(inWords("The server cannot be reached.")).toBe("The server cannot be reached.");
});
