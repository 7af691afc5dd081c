//! What the page tells in passing: shown for a while, and read out. Bounded; the oldest goes first.
import { store, type Store } from "./store";

export interface Note {
  id: number;
  text: string;
  tone: "plain" | "bad";
}

const MOST = 3;
const SHOWN_MS = 7_000;
let last = 0;

export const notes: Store<Note[]> = store<Note[]>([]);

export const dismiss = (id: number): void => notes.set(notes.get().filter((note) => note.id !== id));

export function tell(text: string, tone: Note["tone"] = "plain"): void {
  const id = ++last;
  notes.set([...notes.get().slice(1 - MOST), { id, text, tone }]);
  window.setTimeout(() => dismiss(id), tone === "bad" ? 2 * SHOWN_MS : SHOWN_MS);
}
