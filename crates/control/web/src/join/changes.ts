//! What a new view has that the one before it had not, as far as people want to be told. Pure.
import type { View } from "./types";

export type Change =
  | { is: "entered" }
  | { is: "came" | "went" | "hand" | "chairman"; name: string }
  | { is: "many_came" | "many_went"; count: number }
  | { is: "locked" | "unlocked" | "recording" | "recording_over" | "all_muted" | "all_unmuted" | "you_chairman" | "you_no_chairman" | "hand_lowered" };

/** More at once are counted, not named: a room that fills would talk over itself. */
const NAMED = 3;

export function changes(before: View | null, after: View): Change[] {
  if (before === null) return [];
  const told: Change[] = [];
  const me = after.participant;
  if (before.participant === me && before.state === "WAITING" && after.state === "JOINED") told.push({ is: "entered" });
  // Of a session that began anew everybody seems to change.
  const sameSession = before.participant === me;
  const known = new Map(before.participants.map((one) => [one.id, one]));
  const present = new Set(after.participants.map((one) => one.id));
  if (sameSession && before.state === after.state) {
    told.push(...counted("came", "many_came", after.participants.filter((one) => one.id !== me && !known.has(one.id)).map((one) => one.name)));
    told.push(...counted("went", "many_went", before.participants.filter((one) => one.id !== me && !present.has(one.id)).map((one) => one.name)));
  }
  for (const one of after.participants) {
    const was = known.get(one.id);
    if (!was || one.id === me) continue;
    if (one.hand_raised && !was.hand_raised) told.push({ is: "hand", name: one.name });
    if (one.chairman && !was.chairman) told.push({ is: "chairman", name: one.name });
  }
  if (sameSession) {
    if (after.chairman !== before.chairman) told.push({ is: after.chairman ? "you_chairman" : "you_no_chairman" });
    if (before.hand_raised && !after.hand_raised) told.push({ is: "hand_lowered" });
  }
  if (after.room.locked !== before.room.locked) told.push({ is: after.room.locked ? "locked" : "unlocked" });
  if (after.room.recording !== before.room.recording) told.push({ is: after.room.recording ? "recording" : "recording_over" });
  if (after.room.muted !== before.room.muted) told.push({ is: after.room.muted ? "all_muted" : "all_unmuted" });
  return told;
}

function counted(one: "came" | "went", many: "many_came" | "many_went", names: string[]): Change[] {
  return names.length > NAMED ? [{ is: many, count: names.length }] : names.map((name) => ({ is: one, name }));
}
