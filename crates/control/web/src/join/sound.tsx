//! The room's sound: one stream, on the speaker that was chosen, and a button where the browser holds it back.
import { useEffect, useRef, useState } from "preact/hooks";
import type { Conference } from "./conference";
import type { Media } from "./media";
import { useSpeech } from "./speech";
import { useStore } from "./store";

export function Sound({ conference, media }: { conference: Conference; media: Media }) {
  const { words } = useSpeech();
  const track = useStore(conference.sound);
  const { chosen } = useStore(media.state);
  const audio = useRef<HTMLAudioElement>(null);
  const [isHeld, setHeld] = useState(false);
  const play = () => {
    const playing = audio.current?.play();
    playing?.then(
      () => setHeld(false),
      // Only a refusal is one: a new stream interrupts the playing of the old one, too.
      (error: unknown) => setHeld((error as { name?: string } | null)?.name === "NotAllowedError"),
    );
  };
  useEffect(() => {
    if (!audio.current) return;
    audio.current.srcObject = track ? new MediaStream([track]) : null;
    if (track) play();
  }, [track]);
  useEffect(() => {
    const element = audio.current;
    if (element && "setSinkId" in element) void element.setSinkId(chosen.audiooutput).catch(() => undefined);
  }, [chosen.audiooutput]);
  return (
    <>
      <audio ref={audio} data-testid="sound" />
      {isHeld && (
        <div class="notice" role="alert">
          <p>{words.sound_blocked}</p>
          <button type="button" class="primary" data-testid="sound-on" onClick={play}>{words.sound_on}</button>
        </div>
      )}
    </>
  );
}
