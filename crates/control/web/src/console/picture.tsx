//! A room's picture as it is made now, with its tiles on top: a participant is dragged from tile to tile, or moved by keys.
import { useEffect, useRef, useState } from "preact/hooks";
import { act, ApiError, request } from "./api";
import { mayOperate } from "./api";
import type { Participant, Picture, Tile } from "./types";
import { asError, nameOf, Problem } from "./ui";

const EVERY_MS = 500;

interface PictureProps {
  path: string;
  picture: Picture | null;
  error: ApiError | null;
  people: Participant[];
  onError: (error: ApiError | null) => void;
  onDone: () => void;
}

export function PictureView({ path, picture, error, people, onError, onDone }: PictureProps) {
  const image = useRef<HTMLImageElement>(null);
  const [wrong, setWrong] = useState<ApiError | null>(null);
  const [carried, setCarried] = useState<string | null>(null);
  usePreview(`${path}/preview.jpg`, image, setWrong);
  const may = mayOperate();
  const move = (participant: string, position: number) => {
    onError(null);
    setCarried(null);
    act(`${path}/participants/${encodeURIComponent(participant)}/position`, { position }).then(onDone, (caught: unknown) => onError(asError(caught)));
  };
  return (
    <section aria-label="Picture">
      <div class="picture" ref={(box) => void (box && picture && box.style.setProperty("aspect-ratio", `${picture.width} / ${picture.height}`))}>
        <img ref={image} data-testid="preview" alt="The room's picture as it is now" />
        {picture?.tiles.map((tile) => (
          <TileView key={tile.position} tile={tile} picture={picture} people={people} may={may} carried={carried} onCarry={setCarried} onMove={move} />
        ))}
      </div>
      {may && <p class="help">{carried ? "Choose the tile to move to, or press Escape." : "Drag a tile onto another one, or choose a tile and then another."}</p>}
      <Problem error={error ?? wrong} />
    </section>
  );
}

interface TileProps {
  tile: Tile;
  picture: Picture;
  people: Participant[];
  may: boolean;
  carried: string | null;
  onCarry: (participant: string | null) => void;
  onMove: (participant: string, position: number) => void;
}

function TileView({ tile, picture, people, may, carried, onCarry, onMove }: TileProps) {
  const who = people.find((one) => one.id === tile.participant_id);
  const name = who ? nameOf(who.display_name, who.number) : "empty";
  const box = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const style = box.current?.style;
    if (!style) return;
    // By CSSOM: the page's policy forbids style attributes.
    style.setProperty("left", `${(100 * tile.x) / picture.width}%`);
    style.setProperty("top", `${(100 * tile.y) / picture.height}%`);
    style.setProperty("width", `${(100 * tile.width) / picture.width}%`);
    style.setProperty("height", `${(100 * tile.height) / picture.height}%`);
  }, [tile.x, tile.y, tile.width, tile.height, picture.width, picture.height]);
  return (
    <button
      ref={box}
      type="button"
      class="tile"
      data-testid="tile"
      data-tile={tile.position}
      data-participant={tile.participant_id ?? ""}
      aria-pressed={may ? carried !== null && carried === tile.participant_id : undefined}
      aria-label={`Tile ${tile.position + 1}: ${name}${tile.talking ? ", talking" : ""}`}
      disabled={!may}
      draggable={may && tile.participant_id !== null}
      onDragStart={(event) => {
        if (!tile.participant_id) return;
        event.dataTransfer?.setData("text/plain", tile.participant_id);
        onCarry(tile.participant_id);
      }}
      onDragEnd={() => onCarry(null)}
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        // Only what was taken up here: text dropped from elsewhere names nobody.
        if (carried && carried !== tile.participant_id) onMove(carried, tile.position);
      }}
      onKeyDown={(event) => event.key === "Escape" && onCarry(null)}
      onClick={() => {
        if (carried === null) onCarry(tile.participant_id);
        else if (carried === tile.participant_id) onCarry(null);
        else onMove(carried, tile.position);
      }}
    >
      <span class="plate">{name}</span>
    </button>
  );
}

/** Fetched, as an image's own address carries no token; twice a second at most, and only in sight. */
function usePreview(path: string, image: { current: HTMLImageElement | null }, onError: (error: ApiError | null) => void): void {
  useEffect(() => {
    const control = new AbortController();
    let timer = 0;
    let shown: string | null = null;
    let running = false;
    let inSight = true;
    const run = async () => {
      window.clearTimeout(timer);
      if (running || document.hidden || !inSight || control.signal.aborted) return;
      running = true;
      let pause = EVERY_MS;
      try {
        const blob = await (await request("GET", path, undefined, control.signal)).blob();
        const next = URL.createObjectURL(blob);
        if (image.current) image.current.src = next;
        if (shown) URL.revokeObjectURL(shown);
        shown = next;
        onError(null);
      } catch (error) {
        pause = 5_000;
        if (!control.signal.aborted) onError(asError(error));
      }
      running = false;
      if (!control.signal.aborted) timer = window.setTimeout(run, pause);
    };
    const seen = () => void run();
    const watch = new IntersectionObserver((entries) => {
      inSight = entries.some((entry) => entry.isIntersecting);
      seen();
    });
    if (image.current) watch.observe(image.current);
    document.addEventListener("visibilitychange", seen);
    void run();
    return () => {
      control.abort();
      watch.disconnect();
      window.clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
      if (shown) URL.revokeObjectURL(shown);
    };
  }, [path]);
}
