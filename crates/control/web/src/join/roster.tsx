//! Who is in the conference, and what its chairman may do about each.
import { useState } from "preact/hooks";
import { Dialog } from "../shared/dialog";
import type { Act } from "./call";
import { Icon, type Sign } from "./icons";
import { positionsOf } from "./layouts";
import { useSpeech } from "./speech";
import type { Person, View } from "./types";

interface RosterProps {
  view: View;
  act: Act;
  onCarry: (participant: string | null) => void;
}

export function Roster({ view, act, onCarry }: RosterProps) {
  const { words } = useSpeech();
  return (
    <section class="card" aria-labelledby="participants">
      <h2 id="participants">{words.participants} ({view.participants.length})</h2>
      <ul class="roster" data-testid="roster">
        {view.participants.map((one) => (
          <Item key={one.id} one={one} view={view} act={act} onCarry={onCarry} />
        ))}
      </ul>
    </section>
  );
}

function Item({ one, view, act, onCarry }: RosterProps & { one: Person }) {
  const { words, say } = useSpeech();
  const [isOpen, setOpen] = useState(false);
  const leads = view.chairman;
  const canCarry = leads && view.room.mode === "VIDEO";
  const panel = `actions-${one.id}`;
  return (
    <li
      class={one.talking ? "person talking" : "person"}
      data-testid="roster-item"
      data-participant={one.id}
      data-talking={one.talking}
      data-muted={one.muted}
      data-chairman={one.chairman}
      data-hand={one.hand_raised}
      draggable={canCarry}
      onDragStart={(event) => {
        if (!canCarry) return;
        event.dataTransfer?.setData("text/plain", one.name);
        onCarry(one.id);
      }}
      onDragEnd={() => canCarry && onCarry(null)}
    >
      <div class="row between">
        <p class="who">
          <bdi>{one.name}</bdi>
          {one.id === view.participant && <span class="muted"> ({words.you})</span>}
        </p>
        <span class="marks">
          {one.talking && <Mark sign="talking" text={words.talking} tone="good" />}
          {one.hand_raised && <Mark sign="hand" text={words.hand_raised} tone="warn" />}
          {one.chairman && <Mark sign="star" text={words.chairman} tone="accent" />}
          {one.muted && <Mark sign="muted" text={words.muted} tone="plain" />}
        </span>
        {leads && (
          <button type="button" class="more" data-testid="actions" aria-expanded={isOpen} aria-controls={panel} aria-label={say("actions_for", { name: one.name })} onClick={() => setOpen(!isOpen)}>
            <span aria-hidden="true">⋯</span>
          </button>
        )}
      </div>
      {leads && isOpen && <Actions id={panel} one={one} view={view} act={act} />}
    </li>
  );
}

function Mark({ sign, text, tone }: { sign: Sign; text: string; tone: string }) {
  return (
    <span class={`mark ${tone}`} title={text}>
      <Icon sign={sign} />
      <span class="hidden">{text}</span>
    </span>
  );
}

function Actions({ id, one, view, act }: { id: string; one: Person; view: View; act: Act }) {
  const { words, say } = useSpeech();
  const [isAsking, setAsking] = useState(false);
  const participant = one.id;
  const isMe = one.id === view.participant;
  const positions = Math.max(positionsOf(view.room.layout), one.position + 1);
  return (
    <div id={id} class="row actions">
      {!isMe && (
        <button type="button" data-testid="mute-one" aria-label={say(one.muted ? "unmute_one" : "mute_one", { name: one.name })} onClick={() => void act(one.muted ? "unmute_participant" : "mute_participant", { participant })}>
          {one.muted ? words.unmute : words.mute}
        </button>
      )}
      {one.hand_raised && !isMe && <button type="button" data-testid="lower-hand" onClick={() => void act("lower_hand", { participant })}>{words.hand_down}</button>}
      {!one.chairman && <button type="button" data-testid="appoint" onClick={() => void act("appoint", { participant })}>{words.appoint}</button>}
      {!isMe && <button type="button" class="danger" data-testid="remove" onClick={() => setAsking(true)}>{words.remove}</button>}
      {view.room.mode === "VIDEO" && (
        <label class="place">
          <span>{words.place_of}</span>
          <select data-testid="position" value={String(one.position)} onChange={(event) => void act("position", { participant, position: Number(event.currentTarget.value) })}>
            <option value="-1">{words.place_none}</option>
            {Array.from({ length: positions }, (_, tile) => (
              <option key={tile} value={String(tile)}>{say("place", { number: tile + 1 })}{one.pinned && one.position === tile ? " •" : ""}</option>
            ))}
          </select>
        </label>
      )}
      {isAsking && (
        <Dialog title={say("remove_title", { name: one.name })} onClose={() => setAsking(false)}>
          <p>{words.remove_text}</p>
          <div class="row end">
            <button type="button" onClick={() => setAsking(false)}>{words.cancel}</button>
            <button type="button" class="danger" data-testid="confirm" onClick={() => (setAsking(false), void act("remove", { participant }))}>{words.remove}</button>
          </div>
        </Dialog>
      )}
    </div>
  );
}
