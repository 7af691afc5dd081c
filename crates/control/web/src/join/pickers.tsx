//! Choosing microphone, camera and speaker, with a look at what they give: the same before joining and during the call.
import { useEffect, useId, useRef } from "preact/hooks";
import type { Kind, Media } from "./media";
import { cameraTrouble, microphoneTrouble } from "./reasons";
import { useSpeech } from "./speech";
import { useStore } from "./store";

export function Pickers({ media, video }: { media: Media; video: boolean }) {
  const { words } = useSpeech();
  const { microphone, microphoneTrouble: trouble } = useStore(media.state);
  return (
    <>
      <Picker media={media} kind="audioinput" label={words.microphone} />
      {microphone && <Level track={microphone} label={words.level} />}
      {trouble && (
        <div class="trouble">
          <p class="wrong" role="alert" data-testid="microphone-trouble" data-trouble={trouble}>{microphoneTrouble(trouble, words)}</p>
          {trouble !== "insecure" && <button type="button" onClick={() => void media.start(false)}>{words.ask_again}</button>}
        </div>
      )}
      {video && <Picker media={media} kind="videoinput" label={words.camera} />}
      <Picker media={media} kind="audiooutput" label={words.speaker} />
    </>
  );
}

function Picker({ media, kind, label }: { media: Media; kind: Kind; label: string }) {
  const { words, say } = useSpeech();
  const { devices, chosen } = useStore(media.state);
  // Before the visitor allowed it, devices have no names: "default" is all that can be chosen.
  const known = devices.filter((one) => one.kind === kind && one.id !== "" && one.id !== "default" && one.id !== "communications");
  const id = useId();
  if (devices.every((one) => one.kind !== kind)) return null;
  return (
    <div class="pick">
      <label for={id}>{label}</label>
      <select id={id} data-testid={`pick-${kind}`} value={known.some((one) => one.id === chosen[kind]) ? chosen[kind] : ""} onChange={(event) => void media.choose(kind, event.currentTarget.value)}>
        <option value="">{words.device_default}</option>
        {known.map((one, index) => (
          <option key={one.id} value={one.id}>{one.label || say("device_number", { number: index + 1 })}</option>
        ))}
      </select>
    </div>
  );
}

const EVERY_MS = 80;

/** How loud the microphone is, on a scale that speech fills. */
function Level({ track, label }: { track: MediaStreamTrack; label: string }) {
  const bar = useRef<HTMLMeterElement>(null);
  useEffect(() => {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 1_024;
    // A clone: the meter shows a microphone that is muted towards the room, too.
    const own = track.clone();
    own.enabled = true;
    context.createMediaStreamSource(new MediaStream([own])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = window.setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      if (bar.current) bar.current.value = Math.max(0, Math.min(1, 1 + (10 * Math.log10(power + 1e-9)) / 60));
    }, EVERY_MS);
    // Browsers hold sound back until somebody touches the page.
    const wake = () => void context.resume().catch(() => undefined);
    wake();
    window.addEventListener("pointerdown", wake);
    window.addEventListener("keydown", wake);
    return () => {
      window.clearInterval(timer);
      window.removeEventListener("pointerdown", wake);
      window.removeEventListener("keydown", wake);
      own.stop();
      void context.close().catch(() => undefined);
    };
  }, [track]);
  return <meter ref={bar} class="level" min={0} max={1} aria-label={label} data-testid="level" />;
}

export function Preview({ media }: { media: Media }) {
  const { words } = useSpeech();
  const { camera, cameraTrouble: trouble } = useStore(media.state);
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (video.current) video.current.srcObject = camera ? new MediaStream([camera]) : null;
  }, [camera]);
  return (
    <>
      <div class="preview">
        {camera ? <video ref={video} autoplay playsInline muted aria-label={words.preview} data-testid="preview" /> : <p>{words.preview_off}</p>}
      </div>
      {trouble && (
        <div class="trouble">
          <p class="wrong" role="status" data-testid="camera-trouble" data-trouble={trouble}>{cameraTrouble(trouble, words)}</p>
          {trouble !== "insecure" && <button type="button" onClick={() => void media.cameraOn()}>{words.ask_again}</button>}
        </div>
      )}
    </>
  );
}
