//! What one does about oneself: microphone, camera, hand, devices, leaving; by button and by key.
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog } from "../shared/dialog";
import type { Conference } from "./conference";
import { Icon, type Sign } from "./icons";
import type { Media } from "./media";
import { isOpen } from "./mic";
import { tell } from "./notes";
import { Pickers } from "./pickers";
import { cameraTrouble } from "./reasons";
import { remember, remembered } from "./remember";
import { useSpeech } from "./speech";
import { useStore } from "./store";

/** Where keys are somebody's text, or a choice. */
const TYPED_IN = "input, select, textarea, [contenteditable], dialog";

export function Controls({ conference, media, onFailed }: { conference: Conference; media: Media; onFailed: (error: unknown) => void }) {
  const { words } = useSpeech();
  const view = useStore(conference.view);
  const mic = useStore(conference.mic);
  const sends = useStore(conference.sends);
  const { camera } = useStore(media.state);
  const [isChoosing, setChoosing] = useState(false);
  const [shortcuts, setShortcuts] = useState(() => remembered().shortcuts);
  const speaks = sends?.audio === true;
  const isMuted = !isOpen(mic, view?.muted ?? false);
  const isHeld = isMuted && view !== null && !view.may_unmute;
  const isVideo = view?.room.mode === "VIDEO";
  const hand = view?.hand_raised === true;

  const mute = () => {
    if (!speaks) return tell(words.only_listening);
    if (isHeld) return tell(words.may_not_unmute);
    void conference.toggleMute().catch(onFailed);
  };
  const switchCamera = async () => {
    if (camera) return media.cameraOff();
    await media.cameraOn();
    const { cameraTrouble: trouble } = media.state.get();
    if (trouble) tell(cameraTrouble(trouble, words), "bad");
  };
  const raise = () => void conference.act(hand ? "lower_hand" : "raise_hand").catch(onFailed);

  const keys = useRef<Record<string, () => void>>({});
  keys.current = { m: mute, h: raise, ...(isVideo ? { v: () => void switchCamera() } : {}) };
  useEffect(() => {
    if (!shortcuts) return;
    const pressed = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
      if ((event.target as Element | null)?.closest?.(TYPED_IN) || document.querySelector("dialog[open]")) return;
      const act = keys.current[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, [shortcuts]);
  const key = (letter: string) => (shortcuts ? letter : undefined);

  return (
    <div class="controls" role="group" aria-label={words.controls}>
      <Control name="mute" sign={isMuted || !speaks ? "muted" : "microphone"} label={isMuted ? words.unmute : words.mute} look={isMuted ? "off" : undefined} keys={key("M")} unavailable={!speaks || isHeld} state={isMuted ? "muted" : "open"} onClick={mute} />
      {isVideo && (
        <Control name="camera" sign={camera ? "camera" : "camera_off"} label={camera ? words.camera_off : words.camera_on} look={camera ? undefined : "off"} keys={key("V")} state={camera ? "on" : "off"} onClick={() => void switchCamera()} />
      )}
      <Control name="hand" sign="hand" label={hand ? words.hand_down : words.hand_up} look={hand ? "up" : undefined} keys={key("H")} state={hand ? "up" : "down"} onClick={raise} />
      <Control name="devices" sign="devices" label={words.devices} onClick={() => setChoosing(true)} />
      <Control name="leave" sign="leave" label={words.leave} look="leave" onClick={conference.leave} />
      {isChoosing && (
        <Dialog title={words.devices} onClose={() => setChoosing(false)}>
          <div class="devices">
            <Pickers media={media} video={isVideo} />
            <label class="check">
              <input
                type="checkbox"
                data-testid="shortcuts"
                checked={shortcuts}
                onChange={(event) => {
                  setShortcuts(event.currentTarget.checked);
                  remember({ shortcuts: event.currentTarget.checked });
                }}
              />
              <span>{words.shortcuts}</span>
            </label>
            <div class="row end">
              <button type="button" class="primary" onClick={() => setChoosing(false)}>{words.close}</button>
            </div>
          </div>
        </Dialog>
      )}
    </div>
  );
}

interface ControlProps {
  name: string;
  sign: Sign;
  label: string;
  look?: string | undefined;
  keys?: string | undefined;
  state?: string;
  unavailable?: boolean;
  onClick: () => void;
}

/** The label says what pressing does, so nothing is "pressed"; what cannot be done now stays reachable, and says why. */
function Control({ name, sign, label, look, keys, state, unavailable, onClick }: ControlProps) {
  return (
    <button
      type="button"
      class={look ? `control ${look}` : "control"}
      data-testid={name}
      data-is={state}
      title={keys ? `${label} (${keys})` : label}
      aria-keyshortcuts={keys}
      aria-disabled={unavailable || undefined}
      onClick={onClick}
    >
      <Icon sign={sign} />
      <span class="label">{label}</span>
    </button>
  );
}
