//! What a session does when: joining, restarting its transport, coming anew, ending. Pure: a state and an event make the
//! next state and what is to be done; `conference.ts` does it.
import { backOff } from "../shared/back_off";
import type { EndReason } from "./types";

/** So long media may take to come up after the server's answer. */
export const CONNECT_MS = 15_000;
/** So long a lost session is mended before a new one is begun. */
export const MEND_MS = 15_000;
/** So long ICE may take after a restart before it is asked for again. */
const CHECKS_MS = 5_000;
const MOST_MS = 60_000;

/** Why one is not in: the API's code, or one of the page's own. */
export interface Why {
  code: string;
  status: number;
  message: string;
  startsAt: string | null;
  retryAfter: number | null;
}

/** `run` numbers the attempts to be in: what comes of an earlier one is passed over. */
export type State = { run: number } & (
  | { at: "lobby"; why: Why | null }
  | { at: "joining"; session: string | null }
  | { at: "joined"; session: string }
  /** `busy`: a restart was asked for and not answered. `mended`: it was answered, and ICE is not up yet. */
  | { at: "restarting"; session: string; since: number; attempt: number; busy: boolean; mended: boolean; up: boolean }
  | { at: "rejoining"; session: string | null; attempt: number; busy: boolean }
  | { at: "ended"; reason: EndReason }
);

export type Event =
  | { is: "join" }
  | { is: "entered"; run: number; session: string }
  | { is: "refused"; run: number; why: Why }
  | { is: "link"; run: number; up: boolean; failed: boolean }
  | { is: "restarted"; run: number; up: boolean }
  | { is: "stuck"; run: number; gone: boolean }
  | { is: "stream"; run: number; gone: boolean }
  | { is: "over"; run: number; reason: EndReason }
  | { is: "woken" }
  | { is: "online" }
  /** What was negotiated no longer fits, as when a listener gets a microphone. */
  | { is: "renew" }
  | { is: "leave" }
  | { is: "again" };

export type Effect =
  /** A new connection and a new offer. */
  | { do: "enter"; run: number }
  | { do: "follow"; run: number; session: string }
  | { do: "restart"; run: number; session: string }
  /** Tells the server that this session is over. */
  | { do: "leave"; session: string }
  /** Ends connection and event stream on this side. */
  | { do: "close" }
  /** One timer: a later one replaces it. */
  | { do: "wake"; after: number };

export interface Clock {
  now: number;
  random: number;
}
export type Step = [State, Effect[]];

export const BEGIN: State = { run: 0, at: "lobby", why: null };

export type Shown = "lobby" | "joining" | "joined" | "reconnecting" | "ended";
export function shown(state: State): Shown {
  return state.at === "restarting" || state.at === "rejoining" ? "reconnecting" : state.at;
}

/** One cannot come back by trying: somebody has to do something first. */
const isFinal = (why: Why): boolean => why.status >= 400 && why.status < 500 && why.status !== 409 && why.status !== 429 && why.status !== 408;

const ownWhy = (code: string): Why => ({ code, status: 0, message: "", startsAt: null, retryAfter: null });

export function sessionOf(state: State): string | null {
  return "session" in state ? state.session : null;
}

const leaving = (state: State): Effect[] => {
  const session = sessionOf(state);
  return session === null ? [] : [{ do: "leave", session }];
};

const end = (state: State, reason: EndReason, told: Effect[]): Step => [{ run: state.run, at: "ended", reason }, [...told, { do: "close" }]];
const toLobby = (state: State, why: Why | null): Step => [{ run: state.run, at: "lobby", why }, [...leaving(state), { do: "close" }]];

/** Wholly anew: the old session is told off, lest its owner be counted twice. */
function anew(state: State, attempt = 0): Step {
  const run = state.run + 1;
  return [{ run, at: "rejoining", session: null, attempt, busy: true }, [...leaving(state), { do: "close" }, { do: "enter", run }]];
}

function later(state: State & { at: "rejoining" }, clock: Clock, atLeast: number): Step {
  const after = Math.max(backOff(state.attempt, clock.random, MOST_MS), atLeast);
  return [{ run: state.run, at: "rejoining", session: null, attempt: state.attempt + 1, busy: false }, [...leaving(state), { do: "close" }, { do: "wake", after }]];
}

function mend(state: State & { session: string }, clock: Clock, up: boolean): Step {
  const { run, session } = state;
  return [{ run, at: "restarting", session, since: clock.now, attempt: 0, busy: true, mended: false, up }, [{ do: "restart", run, session }]];
}

export function step(state: State, event: Event, clock: Clock): Step {
  if ("run" in event && event.run !== state.run) return [state, []];
  if (event.is === "leave" && state.at !== "lobby" && state.at !== "ended") {
    return state.at === "joining" ? toLobby(state, null) : end(state, "LEFT", leaving(state));
  }
  switch (state.at) {
    case "lobby":
    case "ended":
      return outside(state, event);
    case "joining":
      return joining(state, event);
    case "joined":
      return joined(state, event, clock);
    case "restarting":
      return restarting(state, event, clock);
    case "rejoining":
      return rejoining(state, event, clock);
  }
}

function outside(state: State, event: Event): Step {
  if (event.is === "join") {
    const run = state.run + 1;
    return [{ run, at: "joining", session: null }, [{ do: "enter", run }]];
  }
  if (event.is === "again") return [{ run: state.run, at: "lobby", why: null }, []];
  return [state, []];
}

function joining(state: State & { at: "joining" }, event: Event): Step {
  switch (event.is) {
    case "entered":
      return [{ ...state, session: event.session }, [{ do: "follow", run: state.run, session: event.session }, { do: "wake", after: CONNECT_MS }]];
    case "refused":
      return toLobby(state, event.why);
    case "link":
      if (event.up && state.session !== null) return [{ run: state.run, at: "joined", session: state.session }, []];
      return event.failed ? toLobby(state, ownWhy("NO_MEDIA")) : [state, []];
    case "woken":
      return state.session === null ? [state, []] : toLobby(state, ownWhy("NO_MEDIA"));
    case "over":
      return event.reason === "MEDIA_LOST" ? toLobby(state, ownWhy("NO_MEDIA")) : end(state, event.reason, []);
    case "stream":
      return event.gone ? toLobby(state, ownWhy("NO_MEDIA")) : [state, []];
    default:
      return [state, []];
  }
}

function joined(state: State & { at: "joined" }, event: Event, clock: Clock): Step {
  switch (event.is) {
    case "link":
      return event.up ? [state, []] : mend(state, clock, false);
    case "online":
      return mend(state, clock, true);
    case "stream":
      return event.gone ? anew(state) : mend(state, clock, true);
    case "over":
      // The server gave us up, we did not.
      return event.reason === "MEDIA_LOST" ? anew(state) : end(state, event.reason, []);
    case "renew":
      return anew(state);
    default:
      return [state, []];
  }
}

function restarting(state: State & { at: "restarting" }, event: Event, clock: Clock): Step {
  // As long as people are heard, nothing is torn down because the server's address does not answer.
  const isLate = !state.up && clock.now - state.since >= MEND_MS;
  switch (event.is) {
    case "link":
      if (event.up && state.mended) return back(state);
      return [{ ...state, up: event.up }, []];
    case "restarted":
      if (event.up) return back(state);
      return [{ ...state, busy: false, mended: true, up: false, attempt: state.attempt + 1 }, [{ do: "wake", after: left(state, clock, CHECKS_MS) }]];
    case "stuck": {
      if (event.gone || isLate) return anew(state);
      const after = state.up ? backOff(state.attempt, clock.random, MOST_MS) : left(state, clock, backOff(state.attempt, clock.random, 4_000));
      return [{ ...state, busy: false, mended: false, attempt: state.attempt + 1 }, [{ do: "wake", after }]];
    }
    case "woken":
      if (state.busy) return [state, []];
      if (isLate) return anew(state);
      return [{ ...state, busy: true, mended: false }, [{ do: "restart", run: state.run, session: state.session }]];
    case "online":
      return state.busy ? [state, []] : mend(state, clock, state.up);
    case "stream":
      return event.gone ? anew(state) : [state, []];
    case "over":
      return event.reason === "MEDIA_LOST" ? anew(state) : end(state, event.reason, []);
    case "renew":
      return anew(state);
    default:
      return [state, []];
  }
}

const left = (state: State & { at: "restarting" }, clock: Clock, wanted: number): number => Math.max(100, Math.min(wanted, state.since + MEND_MS - clock.now));

/** The stream may have been lost as well: it is followed again. */
const back = ({ run, session }: State & { at: "restarting" }): Step => [{ run, at: "joined", session }, [{ do: "follow", run, session }]];

function rejoining(state: State & { at: "rejoining" }, event: Event, clock: Clock): Step {
  switch (event.is) {
    case "entered":
      return [{ ...state, session: event.session }, [{ do: "follow", run: state.run, session: event.session }, { do: "wake", after: CONNECT_MS }]];
    case "refused":
      if (isFinal(event.why)) return toLobby(state, event.why);
      return later(state, clock, 1_000 * (event.why.retryAfter ?? 0));
    case "link":
      if (event.up && state.session !== null) return [{ run: state.run, at: "joined", session: state.session }, []];
      return event.failed ? later(state, clock, 0) : [state, []];
    case "woken":
      if (!state.busy) return anew(state, state.attempt);
      return state.session === null ? [state, []] : later(state, clock, 0);
    case "online":
      return state.busy ? [state, []] : anew(state);
    case "stream":
      return event.gone ? later(state, clock, 0) : [state, []];
    case "over":
      return event.reason === "MEDIA_LOST" ? later(state, clock, 0) : end(state, event.reason, []);
    default:
      return [state, []];
  }
}
