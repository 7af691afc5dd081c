//! The room's picture, as the server composed it; for its chairman with the tiles on top, to put people on.
import { useEffect, useRef } from "preact/hooks";
import type { Conference } from "./conference";
import { useSpeech } from "./speech";
import { useStore } from "./store";
import type { Tile, View } from "./types";

interface StageProps {
  conference: Conference;
  view: View | null;
  carried: string | null;
  onCarry: (participant: string | null) => void;
  onMove: (participant: string, position: number) => void;
}

export function Stage({ conference, view, carried, onCarry, onMove }: StageProps) {
  const { words } = useSpeech();
  const track = useStore(conference.picture);
  const video = useRef<HTMLVideoElement>(null);
  const frame = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = video.current;
    if (!element) return;
    element.srcObject = track ? new MediaStream([track]) : null;
    // Without sound it may always play; one that was interrupted plays with the next stream.
    if (track) void element.play().catch(() => undefined);
  }, [track]);
  const { width, height } = view?.room ?? { width: 16, height: 9 };
  useEffect(() => {
    // By CSSOM: the page's policy forbids style attributes.
    frame.current?.style.setProperty("--shape", `${width} / ${height}`);
    frame.current?.style.setProperty("--ratio", String(width / height));
  }, [width, height]);
  return (
    <div class="picture" ref={frame}>
      <video ref={video} muted playsInline aria-label={words.picture} data-testid="picture" />
      {view?.chairman && view.tiles.map((tile) => <TileView key={tile.position} tile={tile} view={view} carried={carried} onCarry={onCarry} onMove={onMove} />)}
    </div>
  );
}

interface TileProps extends Omit<StageProps, "conference" | "view"> {
  tile: Tile;
  view: View;
}

function TileView({ tile, view, carried, onCarry, onMove }: TileProps) {
  const { words, say } = useSpeech();
  const who = view.participants.find((one) => one.id === tile.participant);
  const name = who?.name ?? words.tile_empty;
  const box = useRef<HTMLButtonElement>(null);
  const { x, y, width, height } = tile;
  useEffect(() => {
    for (const [side, share] of [["left", x], ["top", y], ["width", width], ["height", height]] as const) box.current?.style.setProperty(side, `${100 * share}%`);
  }, [x, y, width, height]);
  return (
    <button
      ref={box}
      type="button"
      class="tile"
      data-testid="tile"
      data-tile={tile.position}
      data-participant={tile.participant ?? ""}
      aria-pressed={carried !== null && carried === tile.participant}
      aria-label={say("tile", { number: tile.position + 1, name })}
      draggable={tile.participant !== null}
      onDragStart={(event) => {
        if (!tile.participant) return;
        event.dataTransfer?.setData("text/plain", who?.name ?? "");
        onCarry(tile.participant);
      }}
      onDragEnd={() => onCarry(null)}
      onDragOver={(event) => carried && event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        // Only who was taken up here: text dropped from elsewhere names nobody.
        if (carried && carried !== tile.participant) onMove(carried, tile.position);
      }}
      onClick={() => {
        if (carried === null) onCarry(tile.participant);
        else if (carried === tile.participant) onCarry(null);
        else onMove(carried, tile.position);
      }}
    >
      <span class="plate">{name}</span>
    </button>
  );
}
