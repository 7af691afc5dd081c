//! How fields and choices of the API are called for people, and which stand together. What is not named here is shown
//! all the same, under a name made of its own.
import type { FormField } from "./schema";

const LABELS: Record<string, string> = {
  admin_pin: "Chairman's PIN",
  bitrate: "Bitrate (kbit/s)",
  control: "Who may speak",
  custom_options: "Custom options (JSON)",
  enable_prompt: "Voice prompts",
  enable_recording: "Record from the first participant",
  external_invitees: "Invitees by mail",
  framerate: "Frame rate",
  height: "Picture height",
  internal_invitees: "Invited users",
  ipv4: "IPv4 address",
  ipv6: "IPv6 address",
  max_participants: "Participants at once",
  max_rooms: "Rooms at once",
  numbers: "Dial-in numbers",
  outbound_caller_ids: "Caller IDs of outbound calls",
  caller_id: "Caller ID",
  provider_id: "Trunk",
  room_pin: "Room PIN",
  scheduled_end_at: "Ends at (your local time)",
  scheduled_start_at: "Starts at (your local time)",
  timezone: "Time zone",
  types: "Events",
  url: "URL",
  width: "Picture width",
};

const OPTIONS: Record<string, string> = {
  AUDIO: "Audio",
  VIDEO: "Video",
  FREE: "Everyone (free)",
  MASTER: "Led by a chairman",
  LAYOUT0: "Automatic",
  LAYOUT1: "1 tile",
};

const GROUPS: [string, string[]][] = [
  ["Basics", ["extension_number", "subject", "mode", "capacity", "control", "name", "url", "enabled", "ipv4", "ipv6", "max_rooms", "max_participants", "secret", "types"]],
  ["Access", ["room_pin", "admin_pin"]],
  ["Picture", ["layout", "width", "height", "framerate", "bitrate"]],
  ["Recording and prompts", ["enable_recording", "enable_prompt", "language"]],
  ["Schedule", ["scheduled_start_at", "scheduled_end_at", "timezone"]],
  ["Invitations", ["external_invitees", "internal_invitees", "numbers"]],
];

/** Where the API's own words say nothing, or speak of values that the form calls otherwise. */
const HELP: Record<string, string> = {
  subject: "How the room is called in lists, in invitations and on the page to join with.",
  control: "Led by a chairman: the others wait until the chairman comes.",
  layout: "How participants are placed in the picture. Automatic: as many tiles as are needed, at most nine.",
};

export function labelOf(name: string): string {
  const words = name.replace(/_/g, " ");
  return LABELS[name] ?? words.charAt(0).toUpperCase() + words.slice(1);
}

/** A kind of events, or the beginning of several: `room.`. */
export const kindLabel = (kind: string): string => (kind.endsWith(".") ? `all of ${kind.slice(0, -1)}` : kind);

export function optionLabel(option: string): string {
  const tiles = /^LAYOUT([2-9])$/.exec(option)?.[1];
  return OPTIONS[option] ?? (tiles ? `${tiles} tiles` : option);
}

const NAMES = new Set([...Object.keys(LABELS), ...GROUPS.flatMap(([, names]) => names)]);

/** A refusal in the API's words as a sentence, with fields called as the form calls them. */
export function inWords(message: string): string {
  const called = (found: string, name: string) => (NAMES.has(name) ? labelOf(name).replace(/ \(.*\)$/, "") : found);
  // A name without a _ is a word like others, but where a refusal begins with what it is about.
  const said = message.trim().replace(/`?\b([a-z]+(?:_[a-z]+)+)\b`?/g, called).replace(/^([a-z]+)(?= must )/, called);
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?…:]$/.test(said) ? "" : ".");
}

/** The API's own words about a field, with other fields called as the form calls them. */
export function helpOf(field: FormField): string {
  const typed = field.kind !== "choice" && field.kind !== "switch";
  return (HELP[field.name] ?? field.help)
    .replace(/ ?Null takes it back to ([^.]+)\./, (_, preset: string) => (typed ? ` Empty: ${preset} again.` : ""))
    .replace(/`([^`]+)`/g, (_, name: string) => LABELS[name] ?? name)
    .trim();
}

/** Groups in their order; what no group names is "Advanced". */
export function grouped(fields: FormField[]): { title: string; fields: FormField[] }[] {
  const left = new Map(fields.map((field) => [field.name, field]));
  const groups = GROUPS.map(([title, names]) => ({
    title,
    fields: names.flatMap((name) => {
      const field = left.get(name);
      left.delete(name);
      return field ? [field] : [];
    }),
  }));
  groups.push({ title: "Advanced", fields: [...left.values()] });
  return groups.filter((group) => group.fields.length > 0);
}
