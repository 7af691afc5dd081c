//! Before joining: who one is, what one is heard and seen with, and why one cannot come in.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Conference } from "./conference";
import type { Media } from "./media";
import { Pickers, Preview } from "./pickers";
import { isAboutPin, passes, reason } from "./reasons";
import { remember, remembered } from "./remember";
import type { Why } from "./session";
import { useSpeech } from "./speech";
import { useStore } from "./store";
import type { Info } from "./types";

interface LobbyProps {
  conference: Conference;
  media: Media;
  info: Info;
  why: Why | null;
  isJoining: boolean;
  onRetry: () => Promise<void>;
}

export function Lobby({ conference, media, info, why, isJoining, onRetry }: LobbyProps) {
  const { words, language } = useSpeech();
  const [kept] = useState(remembered);
  const [name, setName] = useState(info.name ?? kept.name);
  const [pin, setPin] = useState("");
  const [muted, setMuted] = useState(kept.muted);
  const [wantsCamera, setWantsCamera] = useState(kept.camera);
  const [isNameless, setNameless] = useState(false);
  const [isPressed, setPressed] = useState(false);
  const here = useRef(true);
  const nameField = useRef<HTMLInputElement>(null);
  const pinField = useRef<HTMLInputElement>(null);
  const { asking, microphone, microphoneTrouble } = useStore(media.state);
  const isVideo = info.room.mode === "VIDEO";
  const needsPin = info.needs_pin || isAboutPin(why);
  const isBusy = isJoining || isPressed;
  const noWebRtc = typeof RTCPeerConnection === "undefined";
  const shownWhy: Why | null = noWebRtc ? { code: "NO_WEBRTC", status: 0, message: "", startsAt: null, retryAfter: null } : why;

  useEffect(() => {
    if (!microphone) void media.start(isVideo && wantsCamera);
    return () => void (here.current = false);
  }, []);
  // Before the browser paints: who types on at once loses nothing of the next try.
  useLayoutEffect(() => {
    if (!isAboutPin(why)) return;
    setPin("");
    pinField.current?.focus();
  }, [why]);

  const switchCamera = (on: boolean) => {
    setWantsCamera(on);
    if (on) void media.cameraOn();
    else media.cameraOff();
  };
  const join = async () => {
    if (isBusy || noWebRtc) return;
    const called = name.trim();
    setNameless(!called && !info.name);
    if (!called && !info.name) return nameField.current?.focus();
    remember({ ...(called && called !== info.name ? { name: called } : {}), muted, camera: wantsCamera });
    setPressed(true);
    // What the browser is asking its user decides what is negotiated.
    await media.settled();
    if (!here.current) return;
    setPressed(false);
    conference.join({ name: called, pin: pin.trim(), muted });
  };

  return (
    <form
      class="lobby"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void join();
      }}
    >
      <div class="card">
        {info.role === "CHAIRMAN" && <p class="help">{words.as_chairman}</p>}
        <div class="field">
          <label for="name">{words.your_name}</label>
          <input
            id="name"
            ref={nameField}
            data-testid="name"
            value={name}
            maxLength={100}
            readOnly={Boolean(info.name)}
            autocomplete="name"
            aria-required={!info.name}
            aria-invalid={isNameless}
            aria-describedby={isNameless ? "name-wrong" : undefined}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          {isNameless && <p id="name-wrong" class="wrong" role="alert">{words.name_needed}</p>}
        </div>
        {needsPin && (
          <div class="field">
            <label for="pin">{words.pin}</label>
            <input
              id="pin"
              ref={pinField}
              data-testid="pin"
              type="password"
              inputMode="numeric"
              autocomplete="off"
              value={pin}
              maxLength={32}
              aria-invalid={isAboutPin(why)}
              aria-describedby={isAboutPin(why) ? "why" : undefined}
              onInput={(event) => setPin(event.currentTarget.value)}
            />
          </div>
        )}
        <label class="check">
          <input type="checkbox" data-testid="join-muted" checked={muted} onChange={(event) => setMuted(event.currentTarget.checked)} />
          <span>{words.join_muted}</span>
        </label>
        <div role="alert">
          {shownWhy && !isBusy && <p id="why" class="reason" data-testid="reason" data-code={shownWhy.code}>{reason(shownWhy, words, language)}</p>}
        </div>
        {passes(shownWhy) && !isBusy && (
          <div class="row">
            <span class="help">{words.looks_again}</span>
            <button type="button" data-testid="check-again" onClick={() => (conference.again(), void onRetry())}>{words.check_again}</button>
          </div>
        )}
        {asking && <p class="help" role="status" data-testid="asking">{words.asking}</p>}
        {microphoneTrouble && !asking && <p class="help" data-testid="listening">{words.listening_offer}</p>}
        <div class="row">
          <button type="submit" class="primary big" data-testid="join" aria-busy={isBusy} disabled={noWebRtc}>
            {isBusy ? words.state_joining : microphoneTrouble && !microphone ? words.join_listening : words.join}
          </button>
          {isJoining && <button type="button" data-testid="cancel" onClick={conference.leave}>{words.cancel}</button>}
        </div>
      </div>
      <div class="card">
        {isVideo && <Preview media={media} />}
        {isVideo && (
          <label class="check">
            <input type="checkbox" data-testid="join-camera" checked={wantsCamera} disabled={isBusy} onChange={(event) => switchCamera(event.currentTarget.checked)} />
            <span>{words.join_camera}</span>
          </label>
        )}
        <Pickers media={media} video={isVideo} />
      </div>
    </form>
  );
}
