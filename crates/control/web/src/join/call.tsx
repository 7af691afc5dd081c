//! During the call: picture, roster and controls around one conference; its shortcuts, and what the page plays.
import { useEffect, useState } from "preact/hooks";
import { JoinError } from "./api";
import { Chair, Claim } from "./chair";
import type { Conference } from "./conference";
import { Controls } from "./controls";
import type { Media } from "./media";
import { tell } from "./notes";
import { Roster } from "./roster";
import { Sound } from "./sound";
import { useSpeech } from "./speech";
import { Stage } from "./stage";
import { useStore } from "./store";
import type { Action, ActionBody } from "./types";

/** Asks the server, and tells its refusal. */
export type Act = (action: Action, body?: ActionBody) => Promise<boolean>;

export function Call({ conference, media }: { conference: Conference; media: Media }) {
  const { words, say } = useSpeech();
  const view = useStore(conference.view);
  const sends = useStore(conference.sends);
  const [carried, setCarried] = useState<string | null>(null);
  const failed = (error: unknown) => {
    const isForbidden = error instanceof JoinError && error.code === "FORBIDDEN";
    tell(isForbidden ? words.on_not_allowed : say("on_failed", { message: error instanceof Error ? error.message : String(error) }), "bad");
  };
  const act: Act = (action, body) =>
    conference.act(action, body).then(
      () => true,
      (error: unknown) => (failed(error), false),
    );
  useEffect(() => {
    if (carried === null) return;
    const drop = (event: KeyboardEvent) => event.key === "Escape" && setCarried(null);
    window.addEventListener("keydown", drop);
    return () => window.removeEventListener("keydown", drop);
  }, [carried]);
  const isVideo = view?.room.mode === "VIDEO";
  const leads = view?.chairman === true;
  const move = (participant: string, position: number) => {
    setCarried(null);
    void act("position", { participant, position });
  };
  return (
    <>
      <Sound conference={conference} media={media} />
      <div class={isVideo ? "room" : "room plain"}>
        <div class="main">
          {view?.state === "WAITING" && <p class="notice" data-testid="waiting">{words.waiting}</p>}
          {sends && !sends.audio && <p class="notice" data-testid="listening">{words.only_listening}</p>}
          {isVideo && <Stage conference={conference} view={view} carried={carried} onCarry={setCarried} onMove={move} />}
          {isVideo && leads && <p class="help">{carried ? words.carry_help : words.drag_help}</p>}
        </div>
        <aside>
          {view && <Roster view={view} act={act} onCarry={setCarried} />}
          {view && leads && <Chair view={view} act={act} />}
          {view && !leads && <Claim conference={conference} />}
        </aside>
      </div>
      <Controls conference={conference} media={media} onFailed={failed} />
    </>
  );
}
