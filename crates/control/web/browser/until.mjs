// Waiting for what a browser comes to, for the scripts that drive one.

/** Longer than anything takes that is waited for, in milliseconds. */
export const PATIENCE = 40_000;

/** Looks again and again until it is `true`; the error says what it was last. */
export async function until(what, holds) {
  const end = Date.now() + PATIENCE;
  let last;
  while (Date.now() < end) {
    last = await holds();
    if (last === true) return;
    await new Promise((go) => setTimeout(go, 200));
  }
  throw new Error(`${what}: ${JSON.stringify(last)}`);
}
