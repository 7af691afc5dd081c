//! What the join API answers, as far as the page reads it.

export type Mode = "AUDIO" | "VIDEO";

export interface Info {
  room: {
    subject: string;
    extension_number: string;
    mode: Mode;
    language: string | null;
    locked: boolean;
    scheduled_start_at: string | null;
    scheduled_end_at: string | null;
  };
  state: "OPEN" | "LOCKED" | "FULL" | "NOT_STARTED" | "UNAVAILABLE";
  needs_pin: boolean;
  name: string | null;
  role: "PARTICIPANT" | "CHAIRMAN";
  ice_servers: RTCIceServer[];
}
export interface Person {
  id: string;
  name: string;
  muted: boolean;
  chairman: boolean;
  talking: boolean;
  hand_raised: boolean;
  position: number;
  pinned: boolean;
  video: boolean;
}
/** In fractions of the picture. */
export interface Tile {
  position: number;
  x: number;
  y: number;
  width: number;
  height: number;
  participant: string | null;
}
export interface View {
  participant: string;
  state: "WAITING" | "JOINED";
  muted: boolean;
  may_unmute: boolean;
  chairman: boolean;
  hand_raised: boolean;
  room: {
    subject: string;
    mode: Mode;
    layout: string;
    width: number;
    height: number;
    locked: boolean;
    muted: boolean;
    recording: boolean;
    control: "FREE" | "MASTER";
    language: string | null;
  };
  participants: Person[];
  tiles: Tile[];
}

export const END_REASONS = ["LEFT", "REMOVED", "ROOM_CLOSED", "MEDIA_LOST", "ENDED"] as const;
export type EndReason = (typeof END_REASONS)[number];

export type OwnAction = "mute" | "unmute" | "raise_hand" | "lower_hand" | "claim_chairman";
export type ChairAction =
  | "mute_participant"
  | "unmute_participant"
  | "remove"
  | "appoint"
  | "lower_hand"
  | "mute_all"
  | "unmute_all"
  | "lock"
  | "unlock"
  | "start_recording"
  | "stop_recording"
  | "invite"
  | "layout"
  | "position";
export type Action = OwnAction | ChairAction;
export type ActionBody = { participant?: string; pin?: string; number?: string; layout?: string; position?: number };
