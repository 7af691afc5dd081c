//! What the API answers, as far as the console reads it; `config/openapi.json` is the authority.

export interface List<T> {
  count: number;
  items: T[];
}
export interface Server {
  id: string;
  name: string;
  enabled: boolean;
  type: "INTERNAL" | "EXTERNAL";
  ipv4: string | null;
  ipv6: string | null;
  max_rooms: number;
  max_participants: number;
}
export interface ServerStatus {
  rooms_count: number;
  participants_count: number;
  cpu_usage: number;
  memory_usage: number;
  status: "ONLINE" | "OFFLINE";
}
export interface Room {
  id: string;
  extension_number: string;
  subject: string;
  mode: "AUDIO" | "VIDEO";
  control: "FREE" | "MASTER";
  layout: string;
  capacity: number;
  has_room_pin: boolean;
  has_admin_pin: boolean;
  scheduled_start_at: string | null;
  token?: string | null;
  [field: string]: unknown;
}
export interface RoomStatus {
  status: "ON_CALL" | "ONLINE" | "OFFLINE";
  locked: boolean;
  muted: boolean;
  recording: boolean;
  participants_count: number;
  started_at: string | null;
}
export interface Stats {
  packets_received: number;
  packets_lost: number;
  frames_concealed: number;
  jitter_ms: number;
  delay_ms: number;
  rtt_ms: number | null;
}
export interface Participant {
  id: string;
  display_name: string;
  number: string;
  muted: boolean;
  chairman: boolean;
  position: number;
  pinned: boolean;
  talking: boolean;
  hand_raised: boolean;
  on_hold: boolean;
  state: "CALLING" | "RINGING" | "IN_MENU" | "WAITING" | "JOINED";
  transport: "SIP" | "WEBRTC";
  audio_codec: string | null;
  video_codec: string | null;
  stats: Stats | null;
}
export interface Tile {
  position: number;
  x: number;
  y: number;
  width: number;
  height: number;
  participant_id: string | null;
  talking: boolean;
}
export interface Picture {
  width: number;
  height: number;
  layout: string;
  tiles: Tile[];
}
export interface Recording {
  id: string;
  answered_at: string;
  ended_at: string | null;
  duration: number | null;
  file_name: string;
  file_size: number | null;
  file_url: string | null;
  part_of: string | null;
  read: boolean;
  reason: string | null;
  state: "RECORDING" | "FINISHED" | "RECOVERED" | "FAILED";
}
export interface Webhook {
  id: string;
  url: string;
  enabled: boolean;
  types: string[];
  source: "CONFIG" | "API";
}
export interface Delivery {
  cursor: number;
  type: string;
  state: "PENDING" | "DEAD";
  attempts: number;
  extension_number: string | null;
  last_error: string | null;
  last_status: number | null;
  next_at: string | null;
  queued_at: string;
}
export interface LiveEvent {
  cursor: number;
  type: string;
  at: string;
  room_id: string | null;
  extension_number: string | null;
  data: Record<string, unknown>;
}
