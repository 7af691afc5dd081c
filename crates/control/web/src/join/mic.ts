//! Whether the microphone is open. The server's `muted` is the room's truth; but who muted oneself is unmuted by nobody else:
//! a chairman may ask, and only the owner opens a microphone that its owner closed. Pure.

export interface Mic {
  /** Its owner closed it. */
  closed: boolean;
  /** Own requests that the server has not answered: views of that time may be of before or after them. */
  pending: number;
}

export type MicNews = "muted" | "unmuted" | "asked" | null;

export const isOpen = (mic: Mic, mutedAtServer: boolean): boolean => !mic.closed && !mutedAtServer;

/** What a view's change of `muted` means for its owner. `asked`: said no by muting again, until the owner opens it. */
export function micNews(mic: Mic, before: boolean | null, after: boolean): MicNews {
  if (before === null || before === after || mic.pending > 0) return null;
  if (after) return mic.closed ? null : "muted";
  return mic.closed ? "asked" : "unmuted";
}
