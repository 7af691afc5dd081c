//! How long to wait before something is tried again.

/** Grows from one second to `most` ms, spread so that many pages do not come back at once. */
export function backOff(attempt: number, random: number, most = 30_000): number {
  return Math.min(most, 1_000 * 2 ** Math.min(attempt, 10)) * (0.5 + random / 2);
}
