//! Why one cannot join, or is not heard or seen, in plain words. Pure.
import { fill, momentIn, type Words } from "./language";
import type { Trouble } from "./media";
import type { Why } from "./session";
import type { EndReason, Info } from "./types";

/** Reasons that pass by themselves: the page looks again. */
const PASSING = new Set(["LOCKED", "FULL", "CAPACITY_EXCEEDED", "NOT_STARTED", "UNAVAILABLE", "NO_SERVER", "BUSY", "UNREACHABLE"]);
export const passes = (why: Why | null): boolean => why !== null && PASSING.has(why.code);
export const isAboutPin = (why: Why | null): boolean => why !== null && why.code.startsWith("PIN_");

/** The link's own state as a reason. */
export function whyOfInfo(info: Info): Why | null {
  return info.state === "OPEN" ? null : { code: info.state, status: 0, message: "", startsAt: info.room.scheduled_start_at, retryAfter: null };
}

export function reason(why: Why, words: Words, language: string, zone?: string): string {
  switch (why.code) {
    case "LOCKED":
      return words.why_locked;
    case "FULL":
    case "CAPACITY_EXCEEDED":
      return words.why_full;
    case "NOT_STARTED": {
      const time = why.startsAt ? momentIn(language, why.startsAt, zone) : null;
      return time ? fill(words.why_not_started, { time }) : words.why_not_started_unknown;
    }
    case "UNAVAILABLE":
      return words.why_unavailable;
    case "NOT_FOUND":
    case "EXPIRED":
      return words.why_unknown_link;
    case "PIN_REQUIRED":
      return words.why_pin_required;
    case "PIN_WRONG":
      return words.why_pin_wrong;
    case "PIN_CLOSED":
    case "RATE_LIMITED":
      return fill(words.why_wait, { seconds: why.retryAfter ?? 60 });
    case "FORBIDDEN":
      return words.why_forbidden;
    case "BUSY":
    case "NO_SERVER":
      return words.why_busy;
    case "UNREACHABLE":
      return words.why_unreachable;
    case "NO_MEDIA":
      return words.why_no_media;
    case "NO_WEBRTC":
      return words.why_browser;
    default:
      return fill(words.why_other, { message: why.message || why.code });
  }
}

export function microphoneTrouble(trouble: Trouble, words: Words): string {
  const said = { insecure: words.trouble_insecure, denied: words.trouble_mic_denied, none: words.trouble_mic_none, busy: words.trouble_mic_busy };
  return said[trouble];
}

export function cameraTrouble(trouble: Trouble, words: Words): string {
  const said = { insecure: words.trouble_insecure, denied: words.trouble_cam_denied, none: words.trouble_cam_none, busy: words.trouble_cam_busy };
  return said[trouble];
}

export function ending(reason: EndReason, words: Words): string {
  const said: Partial<Record<EndReason, string>> = { LEFT: words.ended_left, REMOVED: words.ended_removed, ROOM_CLOSED: words.ended_closed };
  return said[reason] ?? words.ended_other;
}
