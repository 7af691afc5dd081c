//! A room as it is now: its picture, who is in it, what an operator may do about it.
import { useRef, useState } from "preact/hooks";
import { act, fetched, mayOperate, type ApiError } from "./api";
import { Feed } from "./events";
import { useEvents, useLoaded } from "./live";
import { Links } from "./links";
import { PictureView } from "./picture";
import { RecordingsOf } from "./recordings";
import { Roster } from "./roster";
import { StatusBadges } from "./rooms";
import { go, hrefOf } from "./router";
import type { List, LiveEvent, Participant, Picture, Room, RoomStatus } from "./types";
import { Act, Badge, Empty, Head, Loading, Problem, When } from "./ui";
import { optionLabel } from "./words";

const LAYOUTS = Array.from({ length: 10 }, (_, index) => `LAYOUT${index}`);
const KEPT_EVENTS = 200;

export function RoomView({ id }: { id: string }) {
  const path = `/api/conference_rooms/${encodeURIComponent(id)}`;
  // What was deleted is not asked about any more.
  const [isGone, setGone] = useState(false);
  const about = (what: string) => (isGone ? null : `${id} ${what}`);
  const room = useLoaded<Room>(id, (signal) => fetched(path, signal));
  const status = useLoaded<RoomStatus>(about("status"), (signal) => fetched(`${path}/status`, signal), 5_000);
  const active = status.value?.status === "ON_CALL";
  const people = useLoaded<List<Participant>>(about("people"), (signal) => fetched(`${path}/participants?top=100`, signal), 2_000);
  const video = room.value?.mode === "VIDEO";
  const layout = useLoaded<Picture>(active && video ? about("layout") : null, (signal) => fetched(`${path}/layout`, signal), 2_000);
  const [error, setError] = useState<ApiError | null>(null);
  const [events, setEvents] = useState<LiveEvent[]>([]);
  const [recorded, setRecorded] = useState(0);
  const waiting = useRef(0);
  const refresh = () => {
    window.clearTimeout(waiting.current);
    waiting.current = window.setTimeout(() => {
      status.reload();
      people.reload();
      layout.reload();
    }, 100);
  };
  const { link } = useEvents(id, (event) => {
    if (event.type === "room.destroyed") return setGone(true);
    setEvents((before) => [event, ...before].slice(0, KEPT_EVENTS));
    if (event.type === "room.updated") room.reload();
    if (event.type.startsWith("recording.")) setRecorded((count) => count + 1);
    refresh();
  });
  const now = status.value;
  const may = mayOperate();
  const done = () => refresh();
  if (!room.value) {
    return (
      <>
        <Head title="Room" back={{ href: hrefOf("rooms"), text: "Rooms" }} />
        {room.error ? <Problem error={room.error} onRetry={room.reload} /> : <Loading />}
      </>
    );
  }
  const the = room.value;
  if (isGone) {
    return (
      <>
        <Head title={the.subject} back={{ href: hrefOf("rooms"), text: "Rooms" }} />
        <Empty title="This room was deleted.">Its number, {the.extension_number}, is free again.</Empty>
      </>
    );
  }
  return (
    <>
      <Head title={the.subject} back={{ href: hrefOf("rooms"), text: "Rooms" }}>
        {may && <a class="button" data-testid="edit" href={hrefOf("rooms", id, "edit")}>Edit</a>}
        {may && (
          <Act
            name="destroy"
            look="danger"
            act={() => act(`${path}/destroy`)}
            onError={setError}
            onDone={() => go(hrefOf("rooms"))}
            confirm={{ title: `Delete ${the.subject}?`, text: `Room ${the.extension_number} goes for good. ${active ? "Those who are in it are disconnected. " : ""}Its recordings stay for as long as the settings say.`, yes: "Delete the room" }}
          >
            Delete
          </Act>
        )}
      </Head>
      <div class="row">
        <StatusBadges status={now} />
        <span class="muted">
          Number {the.extension_number} · {the.mode === "VIDEO" ? "video" : "audio"} · up to {the.capacity}
          {now?.started_at && <> · since <When at={now.started_at} /></>}
        </span>
        {link === "broken" && <Badge tone="warn">Live events interrupted, reconnecting</Badge>}
      </div>
      <Problem error={error} />
      <Problem error={status.error ?? people.error} onRetry={refresh} />
      {may && now && (
        <div class="row actions" role="group" aria-label="Room">
          <Act name={now.muted ? "action-unmute_room" : "action-mute_room"} act={() => act(`${path}/${now.muted ? "unmute" : "mute"}`)} onError={setError} onDone={done}>
            {now.muted ? "Unmute all" : "Mute all"}
          </Act>
          <Act name={now.locked ? "action-unlock" : "action-lock"} act={() => act(`${path}/${now.locked ? "unlock" : "lock"}`)} onError={setError} onDone={done}>
            {now.locked ? "Unlock" : "Lock"}
          </Act>
          <Act name={now.recording ? "action-stop_recording" : "action-start_recording"} act={() => act(`${path}/${now.recording ? "stop" : "start"}_recording`)} onError={setError} onDone={done}>
            {now.recording ? "Stop recording" : "Record"}
          </Act>
          {video && (
            <label class="inline"><span>Layout</span>
              <select
                data-testid="action-layout"
                value={the.layout}
                onChange={(event) => {
                  setError(null);
                  act(path, { layout: event.currentTarget.value }).then(() => (room.reload(), refresh()), (caught: ApiError) => (setError(caught), room.reload()));
                }}
              >
                {LAYOUTS.map((name) => <option key={name} value={name}>{optionLabel(name)}</option>)}
              </select>
            </label>
          )}
          <Invite path={path} onError={setError} onDone={done} />
        </div>
      )}
      {video && (active ? <PictureView path={path} picture={layout.value} error={layout.error} people={people.value?.items ?? []} onError={setError} onDone={done} /> : <p class="muted">The picture is shown while somebody is in the room.</p>)}
      <Roster path={path} people={people.value} video={video} onError={setError} onDone={done} />
      <Links path={path} room={the} onRevoked={room.reload} />
      <section aria-labelledby="recordings-of"><h2 id="recordings-of">Recordings</h2><RecordingsOf id={id} turn={recorded} /></section>
      <section aria-labelledby="events-of"><h2 id="events-of">Events</h2><Feed events={events} empty="What happens in the room from now on is shown here." /></section>
    </>
  );
}

function Invite({ path, onError, onDone }: { path: string; onError: (error: ApiError | null) => void; onDone: () => void }) {
  const [number, setNumber] = useState("");
  const [busy, setBusy] = useState(false);
  return (
    <form
      class="row invite"
      onSubmit={(event) => {
        event.preventDefault();
        if (busy || !number.trim()) return;
        setBusy(true);
        onError(null);
        act(`${path}/participants/invite`, { number: number.trim() })
          .then(() => (setNumber(""), onDone()), onError)
          .finally(() => setBusy(false));
      }}
    >
      <label class="inline"><span>Invite</span>
        <input data-testid="invite-number" inputMode="tel" autocomplete="off" placeholder="Number" value={number} onInput={(event) => setNumber(event.currentTarget.value)} /></label>
      <button type="submit" data-testid="action-invite" aria-busy={busy}>Call</button>
    </form>
  );
}
