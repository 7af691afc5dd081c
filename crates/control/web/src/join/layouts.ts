//! The geometry of the room's layouts, for their little diagrams: as `media`'s table has it, in thousandths.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export const LAYOUTS = ["LAYOUT0", "LAYOUT1", "LAYOUT2", "LAYOUT3", "LAYOUT4", "LAYOUT5", "LAYOUT6", "LAYOUT7", "LAYOUT8", "LAYOUT9"] as const;
/** A room never shows more at once. */
export const MOST_TILES = 9;

/** LAYOUT4 → 4; of LAYOUT0, and of what is none, 0. */
export function tilesOf(layout: string): number {
  return Number(/^LAYOUT([0-9])$/.exec(layout)?.[1] ?? 0);
}

/** Positions that one can be put on: an automatic layout grows as needed. */
export function positionsOf(layout: string): number {
  return tilesOf(layout) || MOST_TILES;
}

const grid = (side: number): Box[] =>
  Array.from({ length: side * side }, (_, tile) => box((tile % side) / side, Math.floor(tile / side) / side, 1 / side, 1 / side));

const box = (x: number, y: number, width: number, height: number): Box => {
  const edge = (at: number) => Math.round(at * 1_000);
  return { x: edge(x), y: edge(y), width: edge(x + width) - edge(x), height: edge(y + height) - edge(y) };
};

/** One large tile in the corner; the rest in a column beside it, a row below it, and the corner between them last. */
function corner(parts: number): Box[] {
  const part = 1 / parts;
  const aside = Array.from({ length: parts - 1 }, (_, tile) => box(1 - part, tile * part, part, part));
  const below = Array.from({ length: parts }, (_, tile) => box(tile * part, 1 - part, part, part));
  return [box(0, 0, 1 - part, 1 - part), ...aside, ...below];
}

/** One large tile, and `count` small ones beside it (in pictures that are wide) or below it. */
function strip(count: number, share: number, isWide: boolean): Box[] {
  const small = Array.from({ length: count }, (_, tile) => (isWide ? box(1 - share, tile / count, share, 1 / count) : box(tile / count, 1 - share, 1 / count, share)));
  return [isWide ? box(0, 0, 1 - share, 1) : box(0, 0, 1, 1 - share), ...small];
}

/** The tiles of a layout on a picture of this shape. An automatic one is drawn as four. */
export function boxesOf(layout: string, width: number, height: number): Box[] {
  const isWide = width * 9 >= height * 16;
  switch (tilesOf(layout)) {
    case 1:
      return grid(1);
    case 2:
      return width > height ? [box(0, 0, 1 / 2, 1), box(1 / 2, 0, 1 / 2, 1)] : [box(0, 0, 1, 1 / 2), box(0, 1 / 2, 1, 1 / 2)];
    case 3:
      return strip(2, 1 / 3, isWide);
    case 5:
      return strip(4, 1 / 4, isWide);
    case 6:
      return corner(3);
    case 7:
      return strip(6, 1 / 6, isWide);
    case 8:
      return corner(4);
    case 9:
      return grid(3);
    default:
      return grid(2);
  }
}
