//! The page's way to the join API: the link's token is the key before joining, the session's own address after it.
//! Runs in the page; knows no view and keeps nothing.
import { ApiError, refusals, type Refusal } from "../shared/refusals";
import { END_REASONS, type Action, type ActionBody, type EndReason, type Info, type View } from "./types";

/** A request that nobody answers in this time has failed: a network that is gone may keep it waiting for minutes. */
const PATIENCE_MS = 10_000;

export class JoinError extends ApiError {
  constructor(
    status: number,
    errors: Refusal[],
    /** In seconds; what the server asks to wait for. */
    readonly retryAfter: number | null = null,
  ) {
    super(status, errors);
  }
}

/** `Retry-After` in seconds, or until a date. */
export function retryAfter(header: string | null, now: number): number | null {
  if (header === null || header.trim() === "") return null;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - now) / 1_000));
}

async function send(method: string, path: string, more: { body?: string; kind?: string; pin?: string } = {}): Promise<Response> {
  const headers: Record<string, string> = {};
  if (more.kind) headers["Content-Type"] = more.kind;
  if (more.pin) headers["Conclave-Pin"] = more.pin;
  let response: Response;
  try {
    response = await fetch(path, { method, headers, body: more.body ?? null, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new JoinError(0, [{ code: "UNREACHABLE", message: "The server cannot be reached.", detail: null }]);
  }
  if (response.ok) return response;
  const body: unknown = await response.json().catch(() => null);
  throw new JoinError(response.status, refusals(response.status, body), retryAfter(response.headers.get("Retry-After"), Date.now()));
}

const link = (token: string): string => `/join/${encodeURIComponent(token)}`;

/** The last segment of `/r/{token}`. */
export function tokenIn(pathname: string): string {
  const last = pathname.split("/").filter(Boolean).pop() ?? "";
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

export async function look(token: string): Promise<Info> {
  return (await (await send("GET", link(token))).json()) as Info;
}

export interface Entrance {
  name: string;
  pin: string;
  muted: boolean;
}

/** Joins; the session's address is a secret that only this page knows. */
export async function enter(token: string, as: Entrance, offer: string): Promise<{ session: string; answer: string }> {
  const query = new URLSearchParams({ muted: String(as.muted) });
  if (as.name) query.set("name", as.name);
  const response = await send("POST", `${link(token)}?${query}`, { body: offer, kind: "application/sdp", pin: as.pin });
  const place = new URL(response.headers.get("Location") ?? "", window.location.href);
  // Never another server, whatever the answer says.
  if (!place.pathname.startsWith("/join/session/")) throw new JoinError(response.status, [{ code: "NO_SESSION", message: "The server named no session.", detail: null }]);
  return { session: place.pathname, answer: await response.text() };
}

/** An ICE restart: our new fragment for the server's. */
export async function restart(session: string, fragment: string): Promise<string> {
  return (await send("PATCH", session, { body: fragment, kind: "application/trickle-ice-sdpfrag" })).text();
}

/** Leaves. Also as the page goes away: the browser sends it all the same. */
export async function leave(session: string): Promise<void> {
  await fetch(session, { method: "DELETE", keepalive: true }).catch(() => undefined);
}

export async function viewOf(session: string): Promise<View> {
  return (await (await send("GET", session)).json()) as View;
}

export async function act(session: string, action: Action, body: ActionBody = {}): Promise<void> {
  await send("POST", `${session}/actions`, { body: JSON.stringify({ action, ...body }), kind: "application/json" });
}

/** A view, if that is what the text is. */
export function viewFrom(text: string): View | null {
  try {
    const read = JSON.parse(text) as Partial<View> | null;
    const whole = typeof read?.participant === "string" && typeof read.room === "object" && read.room !== null && Array.isArray(read.participants);
    return whole ? ({ ...read, tiles: read.tiles ?? [] } as View) : null;
  } catch {
    return null;
  }
}

export function endFrom(text: string): EndReason {
  try {
    const reason = (JSON.parse(text) as { reason?: string } | null)?.reason;
    return END_REASONS.find((known) => known === reason) ?? "ENDED";
  } catch {
    return "ENDED";
  }
}

export interface Listener {
  onView: (view: View) => void;
  onEnd: (reason: EndReason) => void;
  /** The stream broke, and nobody knows whether the session is still there. */
  onLost: () => void;
  /** The session is over. */
  onGone: () => void;
}

/** Follows a session until the returned function is called, or until it says that it is lost, gone or ended. */
export function follow(session: string, on: Listener): () => void {
  let source: EventSource | null = null;
  let over = false;
  let timer = 0;
  let broken = 0;
  const stop = () => {
    over = true;
    window.clearTimeout(timer);
    source?.close();
  };
  // An EventSource does not tell why it broke; the view's own address does.
  const ask = async () => {
    source?.close();
    if (over) return;
    try {
      const view = await viewOf(session);
      if (over) return;
      on.onView(view);
      broken += 1;
      // There, but its events are not: not asked for in a tight loop.
      timer = window.setTimeout(open, broken > 1 ? Math.min(10_000, 500 * 2 ** broken) : 0);
    } catch (error) {
      if (over) return;
      stop();
      if (error instanceof JoinError && (error.status === 404 || error.status === 410)) on.onGone();
      else on.onLost();
    }
  };
  const open = () => {
    source = new EventSource(`${session}/events`);
    source.addEventListener("view", (event: MessageEvent<string>) => {
      const view = viewFrom(event.data);
      broken = 0;
      if (view && !over) on.onView(view);
    });
    source.addEventListener("ended", (event: MessageEvent<string>) => {
      if (over) return;
      stop();
      on.onEnd(endFrom(event.data));
    });
    source.onerror = () => void ask();
  };
  open();
  return stop;
}
