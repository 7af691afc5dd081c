//! Who is in a room, how well they are heard, and what may be done about each.
import { useRef } from "preact/hooks";
import { act, mayOperate, type ApiError } from "./api";
import type { List, Participant, Stats } from "./types";
import { Act, Badge, Empty, Loading, nameOf } from "./ui";

/** Of those who are not in the room yet. */
const STATES: Partial<Record<Participant["state"], string>> = { CALLING: "Calling", RINGING: "Ringing", IN_MENU: "In the menu", WAITING: "Waiting" };

/** A number says who phones; that of a browser says nothing. */
const fromWhere = ({ number, transport }: Participant, name: string): string =>
  transport === "WEBRTC" ? "Browser" : number && number !== name ? `${number} · Phone` : "Phone";

/** The share of packets that never came, in percent, since `before` or since the beginning. */
export function loss(now: Stats, before: Stats | null): number {
  const from = before && before.packets_received <= now.packets_received && before.packets_lost <= now.packets_lost ? before : null;
  const lost = now.packets_lost - (from?.packets_lost ?? 0);
  const came = now.packets_received - (from?.packets_received ?? 0);
  return lost + came > 0 ? (100 * lost) / (lost + came) : 0;
}

export function quality(lost: number, stats: Stats): "good" | "fair" | "poor" {
  if (lost > 5 || stats.jitter_ms > 60 || (stats.rtt_ms ?? 0) > 500) return "poor";
  return lost > 1 || stats.jitter_ms > 25 || (stats.rtt_ms ?? 0) > 250 ? "fair" : "good";
}

interface RosterProps {
  path: string;
  people: List<Participant> | null;
  video: boolean;
  onError: (error: ApiError | null) => void;
  onDone: () => void;
}

export function Roster({ path, people, video, onError, onDone }: RosterProps) {
  // Of the answer before this one: loss is told of the last two seconds, not of the whole call.
  const kept = useRef<{ list: List<Participant> | null; before: Map<string, Stats> }>({ list: null, before: new Map() });
  if (kept.current.list !== people) {
    kept.current = { list: people, before: new Map((kept.current.list?.items ?? []).flatMap((one) => (one.stats ? [[one.id, one.stats] as const] : []))) };
  }
  const may = mayOperate();
  return (
    <section aria-labelledby="participants">
      <h2 id="participants">Participants{people ? ` (${people.count})` : ""}</h2>
      {!people && <Loading />}
      {people?.count === 0 && <Empty title="Nobody is here.">{may ? "Dial the room's number, send its link, or invite somebody by number." : "Participants are shown as soon as they come."}</Empty>}
      {people && people.items.length > 0 && (
        <div class="table" role="region" aria-label="Participants" tabIndex={0}>
          {/* On a phone rows are laid out as cards, which would take the roles away. */}
          <table class="stack" role="table">
            <thead role="rowgroup">
              <tr role="row">
                <th role="columnheader" scope="col">Name</th><th role="columnheader" scope="col">Quality</th>
                {video && <th role="columnheader" scope="col">Tile</th>}
                {may && <th role="columnheader" scope="col">Actions</th>}
              </tr>
            </thead>
            <tbody role="rowgroup">
              {people.items.map((one) => (
                <Row key={one.id} one={one} before={kept.current.before.get(one.id) ?? null} path={path} video={video} may={may} onError={onError} onDone={onDone} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {people && people.count > people.items.length && <p class="muted">The first {people.items.length} are shown.</p>}
    </section>
  );
}

interface RowProps extends Omit<RosterProps, "people"> {
  one: Participant;
  before: Stats | null;
  may: boolean;
}

function Row({ one, before, path, video, may, onError, onDone }: RowProps) {
  const name = nameOf(one.display_name, one.number);
  const at = `${path}/participants/${encodeURIComponent(one.id)}`;
  return (
    <tr role="row" data-testid="participant-row" data-id={one.id} data-talking={one.talking} data-muted={one.muted}>
      <td role="cell">
        <span class={one.talking ? "strong talking" : "strong"}>{name}</span>
        <span class="muted"> {fromWhere(one, name)}</span>
        {" "}
        <span class="badges">
          {one.state !== "JOINED" && <Badge tone="plain">{STATES[one.state] ?? one.state}</Badge>}
          {one.chairman && <Badge tone="live">Chairman</Badge>}
          {one.talking && <Badge tone="good">Talking</Badge>}
          {one.muted && <Badge tone="warn">Muted</Badge>}
          {one.hand_raised && <Badge tone="warn">Hand up</Badge>}
          {one.on_hold && <Badge tone="plain">On hold</Badge>}
        </span>
      </td>
      <td role="cell"><Quality stats={one.stats} before={before} codecs={[one.audio_codec, one.video_codec].filter(Boolean).join(" · ")} /></td>
      {video && (
        <td role="cell" data-called="Tile">
          {may && one.state === "JOINED" ? (
            <select
              aria-label={`Tile of ${name}`}
              data-testid="action-position"
              value={String(one.position)}
              onChange={(event) => {
                onError(null);
                act(`${at}/position`, { position: Number(event.currentTarget.value) }).then(onDone, onError);
              }}
            >
              <option value="-1">Not shown</option>
              {Array.from({ length: 9 }, (_, tile) => <option key={tile} value={String(tile)}>{tile + 1}{one.pinned && one.position === tile ? " (pinned)" : ""}</option>)}
            </select>
          ) : one.position < 0 ? "–" : one.position + 1}
        </td>
      )}
      {may && (
        <td role="cell">
          <div class="row">
            <Act name={one.muted ? "action-unmute" : "action-mute"} label={`${one.muted ? "Unmute" : "Mute"} ${name}`} act={() => act(`${at}/${one.muted ? "unmute" : "mute"}`)} onError={onError} onDone={onDone}>
              {one.muted ? "Unmute" : "Mute"}
            </Act>
            {!one.chairman && (
              <Act name="action-chairman" label={`Make chairman: ${name}`} act={() => act(`${at}/chairman`)} onError={onError} onDone={onDone}>Make chairman</Act>
            )}
            <Act
              name="action-destroy"
              look="danger"
              label={`Remove ${name}`}
              act={() => act(`${at}/destroy`)}
              onError={onError}
              onDone={onDone}
              confirm={{ title: `Remove ${name}?`, text: "The call is ended at once.", yes: "Remove" }}
            >
              Remove
            </Act>
          </div>
        </td>
      )}
    </tr>
  );
}

function Quality({ stats, before, codecs }: { stats: Stats | null; before: Stats | null; codecs: string }) {
  if (!stats) return <span class="muted">{codecs || "–"}</span>;
  const lost = loss(stats, before);
  const grade = quality(lost, stats);
  return (
    <>
      <Badge tone={grade === "good" ? "good" : grade === "fair" ? "warn" : "bad"}>{grade === "good" ? "Good" : grade === "fair" ? "Fair" : "Poor"}</Badge> {codecs}
      <span class="muted figures">
        loss {lost.toFixed(1)} % · jitter {stats.jitter_ms.toFixed(0)} ms · delay {stats.delay_ms.toFixed(0)} ms
        {stats.rtt_ms === null ? "" : ` · RTT ${stats.rtt_ms.toFixed(0)} ms`}
      </span>
    </>
  );
}
