//! Does what the session's state machine decides: connections, requests, timers; keeps the view and the microphone in step
//! with it. Runs in the page, one at a time; views follow its stores.
import * as api from "./api";
import { changes, type Change } from "./changes";
import type { Media } from "./media";
import { isOpen, micNews, type Mic, type MicNews } from "./mic";
import { peer, type Peer } from "./peer";
import { BEGIN, sessionOf, step, type Effect, type Event, type State, type Why } from "./session";
import { store, type Store } from "./store";
import type { Action, ActionBody, Info, View } from "./types";

declare global {
  interface Window {
    /** For statistics, in the browser's own tools and in tests. */
    conclave?: { pc: RTCPeerConnection | null };
  }
}

export interface Conference {
  state: Store<State>;
  view: Store<View | null>;
  mic: Store<Mic>;
  sound: Store<MediaStreamTrack | null>;
  picture: Store<MediaStreamTrack | null>;
  /** What was negotiated: `null` before it is. */
  sends: Store<{ audio: boolean; video: boolean } | null>;
  join: (as: api.Entrance) => void;
  leave: () => void;
  again: () => void;
  act: (action: Action, body?: ActionBody) => Promise<void>;
  toggleMute: () => Promise<void>;
  close: () => void;
}

interface Told {
  onChange: (change: Change) => void;
  onMic: (news: Exclude<MicNews, null>) => void;
}

export function whyOf(error: unknown): Why {
  if (error instanceof api.JoinError) {
    return { code: error.code, status: error.status, message: error.message, startsAt: error.errors[0]?.detail?.starts_at ?? null, retryAfter: error.retryAfter };
  }
  return { code: "BROWSER", status: 0, message: error instanceof Error ? error.message : String(error), startsAt: null, retryAfter: null };
}

export function conference(token: string, info: () => Info, media: Media, told: Told): Conference {
  const state = store<State>(BEGIN);
  const view = store<View | null>(null);
  const mic = store<Mic>({ closed: false, pending: 0 });
  const sound = store<MediaStreamTrack | null>(null);
  const picture = store<MediaStreamTrack | null>(null);
  const sends = store<{ audio: boolean; video: boolean } | null>(null);
  let as: api.Entrance = { name: "", pin: "", muted: false };
  let current: Peer | null = null;
  let unfollow: (() => void) | null = null;
  let followed: string | null = null;
  let timer = 0;

  window.conclave = { pc: null };

  const dispatch = (event: Event) => {
    const [next, effects] = step(state.get(), event, { now: Date.now(), random: Math.random() });
    state.set(next);
    for (const effect of effects) perform(effect);
  };

  function perform(effect: Effect): void {
    switch (effect.do) {
      case "enter":
        return void enter(effect.run);
      case "follow":
        return follow(effect.run, effect.session);
      case "restart":
        return void restart(effect.run, effect.session);
      case "leave":
        return void api.leave(effect.session);
      case "close":
        return shut();
      case "wake":
        window.clearTimeout(timer);
        timer = window.setTimeout(() => dispatch({ is: "woken" }), effect.after);
    }
  }

  function shut(): void {
    window.clearTimeout(timer);
    unfollow?.();
    unfollow = null;
    followed = null;
    current?.close();
    current = null;
    window.conclave = { pc: null };
    sound.set(null);
    const { at } = state.get();
    // The last picture of who is there stays while one comes back.
    if (at === "lobby" || at === "ended") {
      view.set(null);
      picture.set(null);
      sends.set(null);
    }
  }

  async function enter(run: number): Promise<void> {
    const isWanted = () => state.get().run === run && (state.get().at === "joining" || state.get().at === "rejoining");
    try {
      const { ice_servers: iceServers, room } = info();
      const { microphone, camera, devices } = media.state.get();
      const made = peer({
        iceServers,
        video: room.mode === "VIDEO",
        hasCamera: devices.some((one) => one.kind === "videoinput"),
        microphone,
        camera,
        onLink: (up, failed) => dispatch({ is: "link", run, up, failed }),
        onTrack: (track) => (track.kind === "audio" ? sound : picture).set(track),
      });
      current = made;
      window.conclave = { pc: made.pc };
      sends.set({ audio: made.speaks, video: made.shows });
      applyMic();
      const offer = await made.offer();
      // Whom the chairman muted stays so in a session that begins anew.
      const muted = mic.get().closed || (view.get()?.muted ?? false);
      const entered = await api.enter(token, { ...as, muted }, offer);
      // Overtaken, as by leaving: nobody else would tell the server.
      if (!isWanted()) return void api.leave(entered.session);
      dispatch({ is: "entered", run, session: entered.session });
      await made.accept(entered.answer);
    } catch (error) {
      dispatch({ is: "refused", run, why: whyOf(error) });
    }
  }

  function follow(run: number, session: string): void {
    if (followed === session) return;
    unfollow?.();
    followed = session;
    const lost = (gone: boolean) => {
      followed = null;
      dispatch({ is: "stream", run, gone });
    };
    unfollow = api.follow(session, {
      onView: take,
      onEnd: (reason) => dispatch({ is: "over", run, reason }),
      onLost: () => lost(false),
      onGone: () => lost(true),
    });
  }

  async function restart(run: number, session: string): Promise<void> {
    const mended = current;
    if (!mended) return;
    try {
      await mended.restart((fragment) => api.restart(session, fragment));
      dispatch({ is: "restarted", run, up: mended.isUp() });
    } catch (error) {
      dispatch({ is: "stuck", run, gone: error instanceof api.JoinError && (error.status === 404 || error.status === 410) });
    }
  }

  function applyMic(): void {
    const track = media.state.get().microphone;
    if (track) track.enabled = isOpen(mic.get(), view.get()?.muted ?? false);
  }

  function take(next: View): void {
    const before = view.get();
    view.set(next);
    const news = micNews(mic.get(), before?.participant === next.participant ? before.muted : null, next.muted);
    // Who is told of one's own microphone need not hear that of all others.
    for (const change of changes(before, next)) if (!news || (change.is !== "all_muted" && change.is !== "all_unmuted")) told.onChange(change);
    if (news) told.onMic(news);
    if (news === "asked") void act("mute").catch(() => undefined);
    applyMic();
  }

  async function act(action: Action, body: ActionBody = {}): Promise<void> {
    const session = sessionOf(state.get());
    if (session) await api.act(session, action, body);
  }

  async function toggleMute(): Promise<void> {
    const before = mic.get();
    const close = isOpen(before, view.get()?.muted ?? false);
    mic.set({ closed: close, pending: before.pending + 1 });
    applyMic();
    try {
      await act(close ? "mute" : "unmute");
    } catch (error) {
      // A closed microphone stays closed, whatever the server says.
      if (!close) mic.set({ ...mic.get(), closed: before.closed });
      throw error;
    } finally {
      mic.set({ ...mic.get(), pending: mic.get().pending - 1 });
      applyMic();
    }
  }

  const stops = [
    media.state.on(() => {
      const { microphone, camera } = media.state.get();
      applyMic();
      if (!current) return;
      const { at } = state.get();
      if ((at === "joined" || at === "restarting") && ((microphone && !current.speaks) || (camera && !current.shows && info().room.mode === "VIDEO"))) dispatch({ is: "renew" });
      else current.put(microphone, camera);
    }),
    listen("online", () => dispatch({ is: "online" })),
    // Also into the browser's cache of pages: who comes back from there has left.
    listen("pagehide", () => dispatch({ is: "leave" })),
  ];

  return {
    state,
    view,
    mic,
    sound,
    picture,
    sends,
    join: (entrance) => {
      as = entrance;
      mic.set({ closed: entrance.muted, pending: 0 });
      dispatch({ is: "join" });
    },
    leave: () => dispatch({ is: "leave" }),
    again: () => dispatch({ is: "again" }),
    act,
    toggleMute,
    close: () => {
      stops.forEach((stop) => stop());
      dispatch({ is: "leave" });
    },
  };
}

function listen(event: "online" | "pagehide", act: () => void): () => void {
  window.addEventListener(event, act);
  return () => window.removeEventListener(event, act);
}
