//! Rooms: found, sorted, paged; how each is now.
import { useEffect, useState } from "preact/hooks";
import { fetched, mayOperate } from "./api";
import { addressOf, listState, PAGE, pagesOf, queryOf, sortedBy, type ListState } from "./list";
import { useEvents, useLoaded } from "./live";
import { go, hrefOf } from "./router";
import type { List, Room, RoomStatus } from "./types";
import { Badge, Empty, Head, Loading, Problem, When } from "./ui";

const SORTABLE = ["extension_number", "subject", "mode", "capacity", "scheduled_start_at"] as const;
const TITLES: Record<(typeof SORTABLE)[number], string> = {
  extension_number: "Number",
  subject: "Subject",
  mode: "Mode",
  capacity: "Capacity",
  scheduled_start_at: "Starts",
};

export function Rooms({ query }: { query: string }) {
  const state = listState(query, SORTABLE);
  const [typed, setTyped] = useState(state.search);
  const [turn, setTurn] = useState(0);
  const asked = queryOf(state);
  const list = useLoaded<List<Room>>(asked, (signal) => fetched(`/api/conference_rooms?${asked}`, signal), 30_000);
  const show = (next: ListState, replace = false) => go(hrefOf("rooms") + addressOf(next, SORTABLE), replace);
  useEffect(() => {
    if (typed === state.search) return;
    const timer = setTimeout(() => show({ ...state, search: typed, page: 1 }, true), 250);
    return () => clearTimeout(timer);
  }, [typed]);
  useEvents(null, (event) => {
    if (/^room\.(created|destroyed|updated)$/.test(event.type)) list.reload();
    else if (/^(room|recording)\.|^participant\.(joined|left)$/.test(event.type)) setTurn((count) => count + 1);
  });
  const pages = pagesOf(list.value?.count ?? 0);
  return (
    <>
      <Head title="Rooms">
        {mayOperate() && <a class="button primary" data-testid="create-room" href={hrefOf("rooms", "new")}>New room</a>}
      </Head>
      <div class="row tools">
        <label class="grow"><span class="hidden">Search rooms</span>
          <input type="search" data-testid="search" placeholder="Search by number or subject" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} /></label>
        <p class="muted" role="status">{list.value ? `${list.value.count} ${list.value.count === 1 ? "room" : "rooms"}` : ""}</p>
      </div>
      <Problem error={list.error} onRetry={list.reload} />
      {!list.value && !list.error && <Loading />}
      {list.value?.count === 0 &&
        (state.search ? (
          <Empty title="No room matches.">Search for another part of its number or subject.</Empty>
        ) : (
          <Empty title="No rooms yet.">{mayOperate() ? "Make the first one with “New room”; then dial its number." : "Ask an operator to make one."}</Empty>
        ))}
      {list.value && list.value.items.length > 0 && (
        <div class="table" role="region" aria-label="Rooms" tabIndex={0}>
          {/* On a phone rows are laid out as cards, which would take the roles away. */}
          <table class="stack rooms" role="table">
            <thead role="rowgroup">
              <tr role="row">
                {SORTABLE.map((name) => [
                  name === "mode" && <th key="now" role="columnheader" scope="col" class="now">Now</th>,
                  <th key={name} role="columnheader" scope="col" aria-sort={state.sort === name ? (state.descending ? "descending" : "ascending") : undefined}>
                    <button type="button" class="sort" onClick={() => show(sortedBy(state, name))}>
                      {TITLES[name]}
                      {state.sort === name && <span aria-hidden="true">{state.descending ? "↓" : "↑"}</span>}
                    </button>
                  </th>,
                ])}
              </tr>
            </thead>
            <tbody role="rowgroup">
              {list.value.items.map((room) => (
                <tr key={room.id} role="row" data-testid="room-row" data-id={room.id}>
                  <td role="cell" class={room.extension_number.length > 12 ? "words" : undefined}><a href={hrefOf("rooms", room.id)}>{room.extension_number}</a></td>
                  <td role="cell" class="words"><a href={hrefOf("rooms", room.id)}>{room.subject}</a></td>
                  <td role="cell" class="now"><Now id={room.id} turn={turn} /></td>
                  <td role="cell">{room.mode === "VIDEO" ? "Video" : "Audio"}{room.has_room_pin ? " · PIN" : ""}</td>
                  <td role="cell" data-called={TITLES.capacity}>{room.capacity}</td>
                  <td role="cell" data-called={TITLES.scheduled_start_at}><When at={room.scheduled_start_at} /></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {list.value && (pages > 1 || state.page > 1) && (
        <nav class="row pager" aria-label="Pages">
          <button type="button" disabled={state.page <= 1} onClick={() => show({ ...state, page: Math.min(state.page - 1, pages) })}>Previous</button>
          <span>
            {(state.page - 1) * PAGE + 1}–{Math.min(state.page * PAGE, list.value.count)} of {list.value.count}
          </span>
          <button type="button" disabled={state.page >= pages} onClick={() => show({ ...state, page: state.page + 1 })}>Next</button>
        </nav>
      )}
    </>
  );
}

function Now({ id, turn }: { id: string; turn: number }) {
  const status = useLoaded<RoomStatus>(id, (signal) => fetched(`/api/conference_rooms/${encodeURIComponent(id)}/status`, signal), 15_000);
  // Several events of one moment are one question: it waits for the last of them.
  useEffect(() => {
    if (turn === 0) return;
    const timer = setTimeout(status.reload, 300);
    return () => clearTimeout(timer);
  }, [turn]);
  return <StatusBadges status={status.value} />;
}

export function StatusBadges({ status }: { status: RoomStatus | null }) {
  if (!status) return <span class="muted">–</span>;
  return (
    <span class="badges">
      {status.status === "ON_CALL" ? <Badge tone="live">On call · {status.participants_count}</Badge> : <Badge tone={status.status === "ONLINE" ? "good" : "bad"}>{status.status === "ONLINE" ? "Ready" : "Offline"}</Badge>}
      {status.recording && <Badge tone="bad">Recording</Badge>}
      {status.locked && <Badge tone="warn">Locked</Badge>}
      {status.muted && <Badge tone="warn">Muted</Badge>}
    </span>
  );
}
