//! What happens on the node, as it happens: newest first, bounded, filtered by kind, room and text.
import { useState } from "preact/hooks";
import { useEvents } from "./live";
import { hrefOf } from "./router";
import type { LiveEvent } from "./types";
import { Badge, Empty, Head, nameOf } from "./ui";
import { kindLabel } from "./words";

const KEPT = 500;
/** Of the past, as far as the server keeps it. */
const FROM_THE_FIRST = 0;

/** One line on what an event carries. */
export function told(event: LiveEvent): string {
  const { data } = event;
  const text = (name: string) => (typeof data[name] === "string" ? (data[name] as string) : "");
  const parts = [
    text("display_name") ? nameOf(text("display_name"), text("number")) : "",
    text("subject") || text("file_name") || text("name") || text("recipient"),
    // Most are in the room: only what is otherwise says anything.
    text("state") === "JOINED" ? "" : text("state").toLowerCase().replace(/_/g, " "),
    text("reason"),
  ];
  if (event.type === "stream.gap") parts.push("events before this one are not kept any more");
  if (typeof data.framerate === "number") parts.push(`${data.framerate} pictures a second`);
  return parts.filter(Boolean).join(" · ");
}

export function matches(event: LiveEvent, kind: string, search: string): boolean {
  if (kind && !event.type.startsWith(kind)) return false;
  const wanted = search.trim().toLowerCase();
  return !wanted || `${event.type} ${event.extension_number ?? ""} ${told(event)}`.toLowerCase().includes(wanted);
}

const time = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function Feed({ events, empty, rooms }: { events: LiveEvent[]; empty: string; rooms?: boolean }) {
  if (events.length === 0) return <Empty title="No events.">{empty}</Empty>;
  return (
    <ol class="feed" tabIndex={0} aria-label="Events, newest first">
      {events.map((event) => {
        const at = new Date(event.at);
        return (
          <li key={`${event.cursor} ${event.type}`} data-testid="event-row" data-type={event.type}>
            <time dateTime={event.at}>{Number.isNaN(at.getTime()) ? "" : time.format(at)}</time>
            <span class="kind">{event.type}</span>
            <span>
              {rooms && event.room_id && <a href={hrefOf("rooms", event.room_id)}>{event.extension_number ?? "room"}</a>} {told(event)}
            </span>
          </li>
        );
      })}
    </ol>
  );
}

export function Events() {
  const [events, setEvents] = useState<LiveEvent[]>([]);
  const [kind, setKind] = useState("");
  const [search, setSearch] = useState("");
  const { link, kinds } = useEvents(
    null,
    (event) => setEvents((before) => (before.some((other) => other.cursor === event.cursor && other.type === event.type) ? before : [event, ...before].slice(0, KEPT))),
    FROM_THE_FIRST,
  );
  const shown = events.filter((event) => matches(event, kind, search));
  const families = [...new Set(kinds.map((name) => `${name.split(".")[0]}.`))];
  return (
    <>
      <Head title="Events">
        <span role="status"><Badge tone={link === "live" ? "good" : "warn"}>{link === "live" ? "Live" : link === "connecting" ? "Connecting" : "Interrupted, reconnecting"}</Badge></span>
      </Head>
      <div class="row tools">
        <label class="grow"><span class="hidden">Filter events</span>
          <input type="search" data-testid="search" placeholder="Filter by room, name or text" value={search} onInput={(event) => setSearch(event.currentTarget.value)} /></label>
        <label class="inline"><span>Kind</span>
          <select data-testid="kind" value={kind} onChange={(event) => setKind(event.currentTarget.value)}>
            <option value="">All</option>
            {families.map((family) => (
              <optgroup key={family} label={family.slice(0, -1)}>
                <option value={family}>{kindLabel(family)}</option>
                {kinds.filter((name) => name.startsWith(family)).map((name) => <option key={name} value={name}>{name}</option>)}
              </optgroup>
            ))}
          </select></label>
      </div>
      <Feed events={shown} rooms empty={events.length > 0 ? "None of those that came matches the filter." : "What happens from now on is shown here."} />
    </>
  );
}
