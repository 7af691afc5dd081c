//! The console's way to the public API: who is signed in, requests with a token, refusals in the API's own words.
//! Runs in the page. Knows no view: views are told about the end of a session through `onSession`.
import { ApiError, refusals } from "../shared/refusals";
export { ApiError, refusals };

export type Role = "admin" | "operator" | "viewer";

export interface Session {
  token: string;
  refresh: string | null;
  name: string;
  role: Role;
}

interface Tokens {
  access_token: string;
  refresh_token: string;
}

const KEPT_AS = "conclave.console.session";
const listeners = new Set<() => void>();
let session: Session | null = restored();
let refreshing: Promise<boolean> | null = null;

function restored(): Session | null {
  try {
    const kept: unknown = JSON.parse(sessionStorage.getItem(KEPT_AS) ?? "null");
    if (typeof kept !== "object" || kept === null) return null;
    const { token, refresh, name, role } = kept as Partial<Session>;
    if (typeof token !== "string" || (role !== "admin" && role !== "operator" && role !== "viewer")) return null;
    return { token, refresh: typeof refresh === "string" ? refresh : null, name: String(name ?? ""), role };
  } catch {
    return null;
  }
}

function become(next: Session | null): void {
  session = next;
  try {
    if (next) sessionStorage.setItem(KEPT_AS, JSON.stringify(next));
    else sessionStorage.removeItem(KEPT_AS);
  } catch {
    // Without storage (private windows of some browsers) the session lasts as long as the page.
  }
  listeners.forEach((listener) => listener());
}

export const signedIn = (): Session | null => session;
export const mayOperate = (): boolean => session?.role === "admin" || session?.role === "operator";
export const mayAdminister = (): boolean => session?.role === "admin";

export function onSession(listener: () => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

async function send(method: string, path: string, body: unknown, token: string | null, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const sent = body === undefined ? null : JSON.stringify(body);
  try {
    return await fetch(path, { method, headers, body: sent, signal: signal ?? null, cache: "no-store" });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, [{ code: "UNREACHABLE", message: "The server cannot be reached.", detail: null }]);
  }
}

async function checked(response: Response): Promise<Response> {
  if (response.ok) return response;
  throw new ApiError(response.status, refusals(response.status, await response.json().catch(() => null)));
}

/** One refresh at a time: a refresh token works once. False when the session is over. */
function refresh(): Promise<boolean> {
  refreshing ??= (async () => {
    const before = session;
    if (!before?.refresh) return false;
    const response = await send("POST", "/api/auth/refresh_token", { refresh_token: before.refresh }, null);
    if (!response.ok) {
      // Refused: the session is over. Busy: it is not, and the request that wanted it says so.
      if (response.status < 429) return false;
      throw new ApiError(response.status, refusals(response.status, await response.json().catch(() => null)));
    }
    const tokens = (await response.json()) as Tokens;
    if (session === before) become({ ...before, token: tokens.access_token, refresh: tokens.refresh_token });
    return true;
  })().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

/** A request with the session's token; 401 is answered by a refresh, and when that fails by the sign-in. */
export async function request(method: "GET" | "POST", path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const used = session?.token ?? null;
  let response = await send(method, path, body, used, signal);
  if (response.status === 401 && session) {
    const renewed = session.token !== used || (await refresh());
    if (renewed && session) response = await send(method, path, body, session.token, signal);
    if (response.status === 401) become(null);
  }
  return checked(response);
}

export async function fetched<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await (await request("GET", path, undefined, signal)).json()) as T;
}

/** An act; what it answers when it answers anything. */
export async function act<T = unknown>(path: string, body?: unknown): Promise<T | null> {
  const text = await (await request("POST", path, body)).text();
  return text ? (JSON.parse(text) as T) : null;
}

/** The API names no role, but shows it: webhooks are the admin's, and a viewer may not filter by PINs. */
async function roleOf(token: string): Promise<Role> {
  const webhooks = await send("GET", "/api/webhooks?top=1", undefined, token);
  if (webhooks.ok) return "admin";
  if (webhooks.status !== 403) await checked(webhooks);
  const query = new URLSearchParams({ filter: "room_pin eq '000'", top: "1" });
  const rooms = await send("GET", `/api/conference_rooms?${query}`, undefined, token);
  if (rooms.ok) return "operator";
  if (rooms.status !== 400) await checked(rooms);
  return "viewer";
}

export async function signInWithToken(token: string): Promise<void> {
  become({ token, refresh: null, name: "API token", role: await roleOf(token) });
}

export async function signInWithPassword(username: string, password: string): Promise<void> {
  const response = await checked(await send("POST", "/api/auth/sign_in", { username, password }, null));
  const tokens = (await response.json()) as Tokens;
  const role = await roleOf(tokens.access_token);
  become({ token: tokens.access_token, refresh: tokens.refresh_token, name: username, role });
}

/** Ends a session that a password began. A pasted token is forgotten, not revoked: others may use it. */
export async function signOut(): Promise<void> {
  const ended = session;
  become(null);
  if (ended?.refresh) await send("POST", "/api/auth/sign_out", undefined, ended.token).catch(() => undefined);
}
