//! The session: joining, mending, coming anew, ending.
import { describe, expect, it } from "vitest";
import { BEGIN, CONNECT_MS, MEND_MS, shown, step, type Effect, type Event, type State, type Why } from "./session";

const at = (now: number, random = 1) => ({ now, random });
const why = (status: number, code: string, retryAfter: number | null = null): Why => ({ code, status, message: "", startsAt: null, retryAfter });
/** Runs events through, each at its second; gives the last state and what it did. */
function through(from: State, ...events: [number, Event][]): { state: State; effects: Effect[]; last: Effect[] } {
  let state = from;
  const effects: Effect[] = [];
  let last: Effect[] = [];
  for (const [second, event] of events) {
    [state, last] = step(state, event, at(second * 1_000));
    effects.push(...last);
  }
  return { state, effects, last };
}
const S = "/join/session/s";
const dos = (effects: Effect[]) => effects.map((effect) => effect.do);
const IN: State = { run: 1, at: "joined", session: S };
const up: Event = { is: "link", run: 1, up: true, failed: false };
const down: Event = { is: "link", run: 1, up: false, failed: false };
const failed: Event = { is: "link", run: 1, up: false, failed: true };
const stuck: Event = { is: "stuck", run: 1, gone: false };
const woken: Event = { is: "woken" };

describe("joining", () => {
  const entered: Event = { is: "entered", run: 1, session: S };
  it("is in when media flow, not when the server answered", () => {
    const asked = through(BEGIN, [0, { is: "join" }], [1, entered]);
    expect(asked.effects).toEqual([{ do: "enter", run: 1 }, { do: "follow", run: 1, session: S }, { do: "wake", after: CONNECT_MS }]);
    expect(shown(asked.state)).toBe("joining");
    expect(through(asked.state, [2, up]).state).toEqual(IN);
  });
  it("gives up when no media come, and leaves", () => {
    for (const event of [woken, failed]) {
      const over = through(BEGIN, [0, { is: "join" }], [1, entered], [16, event]);
      expect(over.state).toMatchObject({ at: "lobby", why: { code: "NO_MEDIA" } });
      expect(over.last).toEqual([{ do: "leave", session: S }, { do: "close" }]);
    }
  });
  it("says why it was refused, and may be tried again", () => {
    const refused = through(BEGIN, [0, { is: "join" }], [1, { is: "refused", run: 1, why: why(403, "PIN_WRONG") }]);
    expect(refused.state).toMatchObject({ at: "lobby", why: { code: "PIN_WRONG" } });
    expect(dos(refused.last)).toEqual(["close"]);
    expect(through(refused.state, [2, { is: "join" }]).state).toEqual({ run: 2, at: "joining", session: null });
    expect(through(refused.state, [2, { is: "again" }]).state).toMatchObject({ at: "lobby", why: null });
  });
  it("can be called off", () => {
    const off = through(BEGIN, [0, { is: "join" }], [1, entered], [2, { is: "leave" }]);
    expect(off.state).toMatchObject({ at: "lobby", why: null });
    expect(dos(off.last)).toEqual(["leave", "close"]);
  });
  it("passes over what comes of an earlier attempt", () => {
    const second = through(BEGIN, [0, { is: "join" }], [1, { is: "leave" }], [2, { is: "join" }]).state;
    expect(step(second, { is: "entered", run: 1, session: S }, at(3))).toEqual([second, []]);
    expect(step(second, { is: "refused", run: 1, why: why(404, "NOT_FOUND") }, at(3))).toEqual([second, []]);
  });
});

describe("a lost link", () => {
  it("is mended in the same session", () => {
    const lost = through(IN, [0, down]);
    expect(lost.last).toEqual([{ do: "restart", run: 1, session: S }]);
    expect(shown(lost.state)).toBe("reconnecting");
    const back = through(lost.state, [1, { is: "restarted", run: 1, up: false }], [2, up]);
    expect(back.state).toEqual(IN);
    // The event stream may be lost as well.
    expect(back.last).toEqual([{ do: "follow", run: 1, session: S }]);
  });
  it("is not yet mended when it comes up before the server answered", () => {
    expect(through(IN, [0, down], [1, up]).state.at).toBe("restarting");
    expect(through(IN, [0, down], [1, up], [2, { is: "restarted", run: 1, up: true }]).state).toEqual(IN);
  });
  it("is tried ever more slowly until the time is up, then anew", () => {
    const stuckOnce = through(IN, [0, down], [1, stuck]);
    expect(stuckOnce.last).toEqual([{ do: "wake", after: 1_000 }]);
    expect(through(stuckOnce.state, [2, woken], [3, stuck]).last).toEqual([{ do: "wake", after: 2_000 }]);
    // Never past the end of the time for mending.
    expect(through(IN, [0, down], [14, stuck]).last).toEqual([{ do: "wake", after: 1_000 }]);
    const late = through(IN, [0, down], [MEND_MS / 1_000, stuck]);
    expect(late.state).toMatchObject({ run: 2, at: "rejoining" });
    expect(late.last).toEqual([{ do: "leave", session: S }, { do: "close" }, { do: "enter", run: 2 }]);
  });
  it("is asked for again when ICE does not come up", () => {
    const answered = through(IN, [0, down], [1, { is: "restarted", run: 1, up: false }]);
    expect(answered.last).toEqual([{ do: "wake", after: 5_000 }]);
    expect(dos(through(answered.state, [6, woken]).last)).toEqual(["restart"]);
    expect(through(answered.state, [15, woken]).state.at).toBe("rejoining");
  });
  it("begins anew at once when the session is over", () => {
    for (const event of [{ is: "stuck", run: 1, gone: true }, { is: "stream", run: 1, gone: true }] as Event[]) {
      expect(through(IN, [0, down], [1, event]).state).toMatchObject({ run: 2, at: "rejoining" });
    }
    expect(through(IN, [0, { is: "stream", run: 1, gone: true }]).state.at).toBe("rejoining");
    expect(through(IN, [0, { is: "over", run: 1, reason: "MEDIA_LOST" }]).state.at).toBe("rejoining");
  });
  it("is not torn down while people are heard", () => {
    const silent = through(IN, [0, { is: "stream", run: 1, gone: false }], [20, stuck]);
    expect(silent.state).toMatchObject({ at: "restarting", up: true });
    expect(through(silent.state, [21, down], [22, woken]).state.at).toBe("rejoining");
  });
  it("is tried at once when the network is back", () => {
    const waiting = through(IN, [0, down], [1, stuck]).state;
    expect(dos(through(waiting, [1, { is: "online" }]).last)).toEqual(["restart"]);
    expect(dos(through(IN, [1, { is: "online" }]).last)).toEqual(["restart"]);
  });
});

describe("coming anew", () => {
  const anew = through(IN, [0, { is: "stream", run: 1, gone: true }]).state;
  const refused = (one: Why): Event => ({ is: "refused", run: 2, why: one });
  it("is in again when media flow", () => {
    const back = through(anew, [1, { is: "entered", run: 2, session: "/join/session/t" }], [2, { is: "link", run: 2, up: true, failed: false }]);
    expect(back.state).toEqual({ run: 2, at: "joined", session: "/join/session/t" });
  });
  it("waits ever longer, a minute at the most, or as long as the server asks for", () => {
    expect(through(anew, [1, refused(why(0, "UNREACHABLE"))]).last).toEqual([{ do: "close" }, { do: "wake", after: 1_000 }]);
    expect(through(anew, [1, refused(why(503, "BUSY", 7))]).last).toContainEqual({ do: "wake", after: 7_000 });
    const long: State = { run: 2, at: "rejoining", session: null, attempt: 30, busy: true };
    expect(through(long, [1, refused(why(409, "CAPACITY_EXCEEDED"))]).last).toContainEqual({ do: "wake", after: 60_000 });
  });
  it("tries again when woken, and at once when the network is back", () => {
    const waiting = through(anew, [1, refused(why(0, "UNREACHABLE"))]).state;
    for (const event of [woken, { is: "online" }] as Event[]) expect(through(waiting, [2, event]).last).toEqual([{ do: "close" }, { do: "enter", run: 3 }]);
    expect(through(anew, [1, woken]).state).toEqual(anew);
  });
  it("asks its visitor when trying does not help", () => {
    for (const one of [why(403, "LOCKED"), why(404, "NOT_FOUND"), why(403, "PIN_WRONG")]) expect(through(anew, [1, refused(one)]).state).toMatchObject({ at: "lobby", why: one });
  });
  it("leaves a session without media", () => {
    const silent = through(anew, [1, { is: "entered", run: 2, session: "/join/session/t" }], [16, woken]);
    expect(silent.last).toEqual([{ do: "leave", session: "/join/session/t" }, { do: "close" }, { do: "wake", after: 1_000 }]);
  });
});

describe("the end", () => {
  it("is told by the server, or by leaving", () => {
    expect(through(IN, [0, { is: "over", run: 1, reason: "REMOVED" }]).state).toEqual({ run: 1, at: "ended", reason: "REMOVED" });
    const gone = through(IN, [0, { is: "leave" }]);
    expect(gone.state).toEqual({ run: 1, at: "ended", reason: "LEFT" });
    expect(gone.last).toEqual([{ do: "leave", session: S }, { do: "close" }]);
  });
  it("comes also while reconnecting", () => {
    for (const event of [down, { is: "renew" }] as Event[]) expect(through(IN, [0, event], [1, { is: "leave" }]).state).toMatchObject({ at: "ended", reason: "LEFT" });
    expect(through(IN, [0, down], [1, { is: "over", run: 1, reason: "ROOM_CLOSED" }]).state).toMatchObject({ at: "ended", reason: "ROOM_CLOSED" });
  });
  it("stays the end until somebody joins again", () => {
    const over: State = { run: 1, at: "ended", reason: "LEFT" };
    for (const event of [up, down, woken, { is: "online" }, { is: "leave" }] as Event[]) expect(step(over, event, at(0))).toEqual([over, []]);
    expect(through(over, [0, { is: "again" }]).state).toMatchObject({ at: "lobby", why: null });
  });
});
