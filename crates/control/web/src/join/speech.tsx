//! The words that views speak, in the page's language.
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { fill, type Language, type Words } from "./language";
import { en } from "./words/en";

export interface Speech {
  language: Language;
  words: Words;
}

export const ENGLISH: Speech = { language: "en", words: en };
export const SpeechContext = createContext<Speech>(ENGLISH);

export function useSpeech(): Speech & { say: (key: keyof Words, gaps: Record<string, string | number>) => string } {
  const speech = useContext(SpeechContext);
  return { ...speech, say: (key, gaps) => fill(speech.words[key], gaps) };
}
