//! Leading the conference: what concerns everybody in it, and how one comes to lead it.
import { useId, useState } from "preact/hooks";
import { Dialog } from "../shared/dialog";
import { JoinError } from "./api";
import type { Act } from "./call";
import type { Conference } from "./conference";
import { boxesOf, LAYOUTS, tilesOf } from "./layouts";
import { tell } from "./notes";
import { useSpeech } from "./speech";
import type { View } from "./types";

export function Chair({ view, act }: { view: View; act: Act }) {
  const { words, say } = useSpeech();
  const [number, setNumber] = useState("");
  const field = useId();
  const { room } = view;
  const invite = async () => {
    const called = number.trim();
    if (!called || !(await act("invite", { number: called }))) return;
    setNumber("");
    tell(say("on_invited", { number: called }));
  };
  return (
    <section class="card chair" aria-labelledby="lead">
      <h2 id="lead">{words.lead}</h2>
      <div class="row">
        <button type="button" data-testid="mute-all" onClick={() => void act("mute_all")}>{words.mute_all}</button>
        <button type="button" data-testid="unmute-all" onClick={() => void act("unmute_all")}>{words.unmute_all}</button>
        <button type="button" data-testid="lock" data-is={room.locked ? "locked" : "open"} onClick={() => void act(room.locked ? "unlock" : "lock")}>{room.locked ? words.unlock : words.lock}</button>
        <button type="button" data-testid="record" data-is={room.recording ? "recording" : "idle"} onClick={() => void act(room.recording ? "stop_recording" : "start_recording")}>
          {room.recording ? words.record_stop : words.record}
        </button>
      </div>
      <form
        class="invite"
        onSubmit={(event) => {
          event.preventDefault();
          void invite();
        }}
      >
        <label for={field}>{words.invite_number}</label>
        <div class="row nowrap">
          <input id={field} type="tel" data-testid="invite-number" value={number} maxLength={64} autocomplete="off" onInput={(event) => setNumber(event.currentTarget.value)} />
          <button type="submit" data-testid="invite">{words.invite}</button>
        </div>
      </form>
      {room.mode === "VIDEO" && (
        <div role="group" aria-labelledby="layouts">
          <h3 id="layouts">{words.layout}</h3>
          <div class="layouts" data-testid="layout" data-layout={room.layout}>
            {LAYOUTS.map((layout) => (
              <button
                key={layout}
                type="button"
                data-layout={layout}
                aria-pressed={layout === room.layout}
                aria-label={tilesOf(layout) ? say("layout_tiles", { count: tilesOf(layout) }) : words.layout_auto}
                title={tilesOf(layout) ? say("layout_tiles", { count: tilesOf(layout) }) : words.layout_auto}
                onClick={() => void act("layout", { layout })}
              >
                <Diagram layout={layout} width={room.width} height={room.height} />
              </button>
            ))}
          </div>
        </div>
      )}
    </section>
  );
}

function Diagram({ layout, width, height }: { layout: string; width: number; height: number }) {
  const isAuto = tilesOf(layout) === 0;
  return (
    <svg class={isAuto ? "diagram auto" : "diagram"} viewBox="-20 -20 1040 1040" preserveAspectRatio="none" aria-hidden="true">
      {boxesOf(layout, width, height).map((box) => (
        <rect key={`${box.x}-${box.y}`} {...box} />
      ))}
      {isAuto && <text x="500" y="690" text-anchor="middle">A</text>}
    </svg>
  );
}

export function Claim({ conference }: { conference: Conference }) {
  const { words, say } = useSpeech();
  const [isAsking, setAsking] = useState(false);
  const [pin, setPin] = useState("");
  const [wrong, setWrong] = useState("");
  const field = useId();
  const claim = async () => {
    try {
      await conference.act("claim_chairman", { pin: pin.trim() });
      setAsking(false);
    } catch (error) {
      const isWrong = error instanceof JoinError && error.status === 403;
      setWrong(isWrong ? words.claim_wrong : say("on_failed", { message: error instanceof Error ? error.message : String(error) }));
    }
    setPin("");
  };
  return (
    <div class="row">
      <button type="button" data-testid="claim" onClick={() => (setWrong(""), setAsking(true))}>{words.claim}</button>
      {isAsking && (
        <Dialog title={words.claim} onClose={() => setAsking(false)}>
          <form
            class="field"
            onSubmit={(event) => {
              event.preventDefault();
              void claim();
            }}
          >
            <label for={field}>{words.claim_pin}</label>
            <input id={field} type="password" inputMode="numeric" autocomplete="off" data-testid="claim-pin" value={pin} maxLength={32} aria-invalid={wrong !== ""} aria-describedby={`${field}-wrong`} onInput={(event) => setPin(event.currentTarget.value)} />
            <p id={`${field}-wrong`} class="wrong" role="alert">{wrong}</p>
            <div class="row end">
              <button type="button" onClick={() => setAsking(false)}>{words.cancel}</button>
              <button type="submit" class="primary" data-testid="claim-send">{words.claim}</button>
            </div>
          </form>
        </Dialog>
      )}
    </div>
  );
}
