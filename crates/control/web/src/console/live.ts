//! What changes by itself: the API's event stream (a ticket first, then server-sent events, resumed by cursor), and polling
//! that rests while the page is out of sight. Runs in the page; bounded by what its users keep.
import { useEffect, useRef, useState } from "preact/hooks";
import { backOff } from "../shared/back_off";
import { act, ApiError, fetched, signedIn } from "./api";
import type { LiveEvent } from "./types";

export type Link = "connecting" | "live" | "broken";

/** An event, if that is what the text is. */
export function eventFrom(text: string): LiveEvent | null {
  try {
    const read = JSON.parse(text) as Partial<LiveEvent> | null;
    if (typeof read?.type !== "string" || typeof read.cursor !== "number") return null;
    const data = typeof read.data === "object" && read.data !== null ? read.data : {};
    return { cursor: read.cursor, type: read.type, at: read.at ?? "", room_id: read.room_id ?? null, extension_number: read.extension_number ?? null, data };
  } catch {
    return null;
  }
}

/** Follows events until the returned function is called. `EventSource` dispatches by type, so every kind is listened for. */
function follow(kinds: string[], room: string | null, from: number | null, on: (event: LiveEvent) => void, onLink: (link: Link) => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let attempt = 0;
  let over = false;
  let cursor = from;
  const again = () => {
    source?.close();
    source = null;
    if (over) return;
    onLink("broken");
    timer = window.setTimeout(open, backOff(attempt++, Math.random()));
  };
  const take = (message: MessageEvent<string>) => {
    const event = eventFrom(message.data);
    if (!event) return;
    cursor = event.cursor;
    on(event);
  };
  async function open() {
    onLink("connecting");
    try {
      const ticket = await act<{ ticket: string }>("/api/events/ticket");
      if (over || !ticket) return;
      const query = new URLSearchParams({ ticket: ticket.ticket });
      if (room) query.set("room", room);
      if (cursor !== null) query.set("cursor", String(cursor));
      const opened = new EventSource(`/api/events?${query}`);
      source = opened;
      opened.onopen = () => {
        attempt = 0;
        onLink("live");
      };
      // Its own reconnection would use the spent ticket.
      opened.onerror = again;
      opened.onmessage = take;
      for (const kind of kinds) opened.addEventListener(kind, take as EventListener);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return;
      again();
    }
  }
  void open();
  return () => {
    over = true;
    window.clearTimeout(timer);
    source?.close();
  };
}

interface Described {
  paths: Record<string, Record<string, { parameters?: { name?: string; schema?: { pattern?: string } }[] }>>;
}

let described: Promise<Described> | null = null;
/** The API's description, read once; a failure is not kept. */
export function description<T = Described>(): Promise<T> {
  described ??= fetched<Described>("/api/openapi.json").catch((error: unknown) => {
    described = null;
    throw error;
  });
  return described as Promise<unknown> as Promise<T>;
}

/** All kinds of events, as the description of the stream's `types` has them: prefixes left out. */
export function kindsIn(described: Described): string[] {
  const types = described.paths["/api/events"]?.get?.parameters?.find((parameter) => parameter.name === "types");
  const found = (types?.schema?.pattern ?? "").match(/[a-z]+\\\.[a-z_]+/g) ?? [];
  return [...new Set([...found.map((kind) => kind.replace("\\", "")), "stream.gap"])].sort();
}

export function useEvents(room: string | null, on: (event: LiveEvent) => void, from: number | null = null): { link: Link; kinds: string[] } {
  const [link, setLink] = useState<Link>("connecting");
  const [kinds, setKinds] = useState<string[]>([]);
  const latest = useRef(on);
  latest.current = on;
  useEffect(() => {
    let stop = () => {};
    let gone = false;
    description().then(
      (read) => {
        if (gone) return;
        const all = kindsIn(read);
        setKinds(all);
        stop = follow(all, room, from, (event) => latest.current(event), setLink);
      },
      () => setLink("broken"),
    );
    return () => {
      gone = true;
      stop();
    };
  }, [room, from]);
  return { link, kinds };
}

export interface Loaded<T> {
  value: T | null;
  error: ApiError | null;
  reload: () => void;
}

/** Loads `paths` of the API, again whenever `every` ms have passed in sight of the viewer; an answer that was overtaken is dropped. */
export function useLoaded<T>(key: string | null, load: (signal: AbortSignal) => Promise<T>, every: number | null = null): Loaded<T> {
  const [state, setState] = useState<{ key: string | null; value: T | null; error: ApiError | null }>({ key: null, value: null, error: null });
  const latest = useRef(load);
  latest.current = load;
  const again = useRef<() => void>(() => {});
  useEffect(() => {
    if (key === null) return;
    let running: AbortController | null = null;
    let timer = 0;
    let gone = false;
    let wanted = false;
    const run = async () => {
      window.clearTimeout(timer);
      if (gone) return;
      if (running) {
        wanted = true;
        return;
      }
      const control = new AbortController();
      running = control;
      try {
        const value = await latest.current(control.signal);
        if (!gone) setState({ key, value, error: null });
      } catch (error) {
        if (gone || control.signal.aborted) return;
        const told = error instanceof ApiError ? error : new ApiError(0, [{ code: "UNKNOWN", message: String(error), detail: null }]);
        setState((before) => ({ key, value: before.key === key ? before.value : null, error: told }));
      } finally {
        running = null;
      }
      if (gone || !signedIn()) return;
      if (wanted) {
        wanted = false;
        void run();
      } else if (every !== null && !document.hidden) timer = window.setTimeout(run, every);
    };
    const seen = () => {
      if (!document.hidden && every !== null) void run();
    };
    again.current = () => void run();
    document.addEventListener("visibilitychange", seen);
    void run();
    return () => {
      gone = true;
      window.clearTimeout(timer);
      running?.abort();
      document.removeEventListener("visibilitychange", seen);
    };
  }, [key, every]);
  const current = state.key === key;
  return { value: current ? state.value : null, error: current ? state.error : null, reload: () => again.current() };
}
