//! Changes of the room in words. Pure.
import type { Change } from "./changes";
import { fill, type Words } from "./language";
import type { MicNews } from "./mic";

export function changeText(change: Change, words: Words): string {
  switch (change.is) {
    case "came":
      return fill(words.on_came, { name: change.name });
    case "went":
      return fill(words.on_went, { name: change.name });
    case "hand":
      return fill(words.on_hand, { name: change.name });
    case "chairman":
      return fill(words.on_chairman, { name: change.name });
    case "many_came":
      return fill(words.on_many_came, { count: change.count });
    case "many_went":
      return fill(words.on_many_went, { count: change.count });
    case "entered":
      return words.on_entered;
    case "locked":
      return words.on_locked;
    case "unlocked":
      return words.on_unlocked;
    case "recording":
      return words.on_recording;
    case "recording_over":
      return words.on_recording_over;
    case "all_muted":
      return words.on_all_muted;
    case "all_unmuted":
      return words.on_all_unmuted;
    case "you_chairman":
      return words.on_you_chairman;
    case "you_no_chairman":
      return words.on_you_no_chairman;
    case "hand_lowered":
      return words.on_hand_lowered;
  }
}

export function micText(news: Exclude<MicNews, null>, words: Words): string {
  return { muted: words.on_muted, unmuted: words.on_unmuted, asked: words.on_asked }[news];
}
