//! Recordings: of one room, or of all (the API has them by room, so rooms are walked); played, downloaded, marked, deleted.
import { useEffect, useRef, useState } from "preact/hooks";
import { act, ApiError, fetched, mayOperate } from "./api";
import { useEvents, useLoaded } from "./live";
import { hrefOf } from "./router";
import type { List, Recording, Room } from "./types";
import { Act, Badge, bytes, duration, Empty, Head, Loading, Problem, When } from "./ui";

const WALKED_AT_ONCE = 4;
const ROOMS_A_PAGE = 100;

interface Shown {
  recording: Recording;
  room: { id: string; name: string };
}

const STATES: Record<Recording["state"], ["good" | "bad" | "live" | "warn", string]> = {
  RECORDING: ["live", "Recording"],
  FINISHED: ["good", "Finished"],
  RECOVERED: ["warn", "Recovered"],
  FAILED: ["bad", "Failed"],
};

const newestFirst = (list: Shown[]): Shown[] => list.sort((one, other) => other.recording.answered_at.localeCompare(one.recording.answered_at));

async function every<T>(path: string, signal: AbortSignal): Promise<T[]> {
  const found: T[] = [];
  for (;;) {
    const page = await fetched<List<T>>(`${path}?$orderby=id&$skip=${found.length}&$top=${ROOMS_A_PAGE}`, signal);
    found.push(...page.items);
    if (page.items.length === 0 || found.length >= page.count) return found;
  }
}

async function ofRoom(id: string, name: string, signal: AbortSignal): Promise<Shown[]> {
  const all = await every<Recording>(`/api/conference_rooms/${encodeURIComponent(id)}/recordings`, signal);
  return all.map((recording) => ({ recording, room: { id, name } }));
}

const nameOfRoom = (room: Room): string => `${room.extension_number} ${room.subject}`;

/** Of a room that something has become of; of one that is gone, none. */
async function ofChanged(id: string, signal: AbortSignal): Promise<Shown[]> {
  try {
    const room = await fetched<Room>(`/api/conference_rooms/${encodeURIComponent(id)}`, signal);
    return await ofRoom(id, nameOfRoom(room), signal);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  }
}

/** All of them, a few rooms at a time: a node may have thousands of rooms. */
async function ofAll(signal: AbortSignal): Promise<Shown[]> {
  const rooms = await every<Room>("/api/conference_rooms", signal);
  const found: Shown[] = [];
  let next = 0;
  const walk = async () => {
    for (let room = rooms[next++]; room; room = rooms[next++]) found.push(...(await ofRoom(room.id, nameOfRoom(room), signal)));
  };
  await Promise.all(Array.from({ length: WALKED_AT_ONCE }, walk));
  return newestFirst(found);
}

export function Recordings() {
  const known = useRef<Shown[] | null>(null);
  const changed = useRef(new Set<string>());
  // Where something has changed is asked alone; without that, everywhere.
  const list = useLoaded<Shown[]>("all recordings", async (signal) => {
    const rooms = [...changed.current];
    changed.current.clear();
    const before = known.current?.filter(({ room }) => !rooms.includes(room.id));
    if (!before || rooms.length === 0) known.current = await ofAll(signal);
    else known.current = newestFirst([...before, ...(await Promise.all(rooms.map((id) => ofChanged(id, signal)))).flat()]);
    return known.current;
  });
  const look = (room: string) => {
    changed.current.add(room);
    list.reload();
  };
  useEvents(null, (event) => {
    if (event.type.startsWith("recording.") && event.room_id) look(event.room_id);
  });
  const [search, setSearch] = useState("");
  const wanted = search.trim().toLowerCase();
  const shown = list.value?.filter(({ recording, room }) => !wanted || `${recording.file_name} ${room.name}`.toLowerCase().includes(wanted));
  return (
    <>
      <Head title="Recordings"><button type="button" onClick={list.reload}>Refresh</button></Head>
      <div class="row tools">
        <label class="grow"><span class="hidden">Search recordings</span>
          <input type="search" data-testid="search" placeholder="Search by room or file" value={search} onInput={(event) => setSearch(event.currentTarget.value)} /></label>
        <p class="muted" role="status">{shown ? `${shown.length} ${shown.length === 1 ? "recording" : "recordings"}` : ""}</p>
      </div>
      <Problem error={list.error} onRetry={list.reload} />
      {!list.value && !list.error && <Loading />}
      {shown && <Table list={shown} named onChange={look} empty={wanted ? "No recording matches." : "No recordings yet."} />}
    </>
  );
}

export function RecordingsOf({ id, turn }: { id: string; turn: number }) {
  const list = useLoaded<Shown[]>(`${id} recordings`, async (signal) => newestFirst(await ofRoom(id, "", signal)));
  useEffect(() => {
    if (turn > 0) list.reload();
  }, [turn]);
  return (
    <>
      <Problem error={list.error} onRetry={list.reload} />
      {list.value && <Table list={list.value} named={false} onChange={list.reload} empty="No recordings yet." />}
    </>
  );
}

function Table({ list, named, onChange, empty }: { list: Shown[]; named: boolean; onChange: (room: string) => void; empty: string }) {
  const [error, setError] = useState<ApiError | null>(null);
  const [playing, setPlaying] = useState<string | null>(null);
  if (list.length === 0) return <Empty title={empty}>{mayOperate() ? "Start one with “Record” in a room that somebody is in." : undefined}</Empty>;
  return (
    <>
      <Problem error={error} />
      <ul class="cards list">
        {list.map((shown) => (
          <Item key={shown.recording.id} {...shown} named={named} playing={playing === shown.recording.id} onPlay={(on) => setPlaying(on ? shown.recording.id : null)} onError={setError} onChange={() => onChange(shown.room.id)} />
        ))}
      </ul>
    </>
  );
}

interface ItemProps extends Shown {
  named: boolean;
  playing: boolean;
  onPlay: (on: boolean) => void;
  onError: (error: ApiError | null) => void;
  onChange: () => void;
}

function Item({ recording, room, named, playing, onPlay, onError, onChange }: ItemProps) {
  const path = `/api/conference_rooms/${encodeURIComponent(room.id)}/recordings/${encodeURIComponent(recording.id)}`;
  const [tone, state] = STATES[recording.state] ?? ["warn", recording.state];
  const video = /\.(mp4|webm)$/i.test(recording.file_name);
  const Player = video ? "video" : "audio";
  const Heading = named ? "h2" : "h3";
  return (
    <li class="card" data-testid="recording-row" data-id={recording.id} data-state={recording.state}>
      <div class="row between">
        <Heading class={recording.read ? "name" : "name unread"}>{recording.file_name}</Heading>
        <div class="row">
          {!recording.read && <Badge tone="live">New</Badge>}
          <Badge tone={tone}>{state}</Badge>
        </div>
      </div>
      <p class="muted">
        {named && <><a href={hrefOf("rooms", room.id)}>{room.name}</a> · </>}
        <When at={recording.answered_at} />
        {[recording.duration === null ? "" : duration(recording.duration), recording.file_size === null ? "" : bytes(recording.file_size)].filter(Boolean).map((text) => ` · ${text}`)}
        {recording.part_of ? " · further part" : ""}
      </p>
      {recording.reason && <p class="wrong">{recording.reason}</p>}
      {playing && recording.file_url && (
        <Player data-testid="player" class="player" src={recording.file_url} controls autoplay aria-label={`Recording ${recording.file_name}`} onError={() => onChange()} />
      )}
      <div class="row">
        {recording.file_url && <button type="button" data-testid="play" aria-label={`${playing ? "Close" : "Play"} ${recording.file_name}`} onClick={() => onPlay(!playing)}>{playing ? "Close" : "Play"}</button>}
        {recording.file_url && <a class="button" data-testid="download" download={recording.file_name} href={recording.file_url} aria-label={`Download ${recording.file_name}`}>Download</a>}
        {mayOperate() && (
          <Act name="action-read" label={`${recording.read ? "Mark as unread" : "Mark as read"}: ${recording.file_name}`} act={() => act(`${path}/${recording.read ? "set_unread" : "set_read"}`)} onError={onError} onDone={onChange}>
            {recording.read ? "Mark as unread" : "Mark as read"}
          </Act>
        )}
        {mayOperate() && recording.state !== "RECORDING" && (
          <Act
            name="destroy"
            look="danger"
            label={`Delete ${recording.file_name}`}
            act={() => act(`${path}/destroy`)}
            onError={onError}
            onDone={onChange}
            confirm={{ title: "Delete the recording?", text: `${recording.file_name} and its file go for good.`, yes: "Delete" }}
          >
            Delete
          </Act>
        )}
      </div>
    </li>
  );
}
