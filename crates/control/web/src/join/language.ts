//! Which language the page speaks: the room's, by its primary subtag; and how texts with gaps are filled.
import { en } from "./words/en";

export type Words = { readonly [Key in keyof typeof en]: string };

const OTHERS = {
  de: () => import("./words/de").then((read) => read.de),
  fr: () => import("./words/fr").then((read) => read.fr),
  es: () => import("./words/es").then((read) => read.es),
  it: () => import("./words/it").then((read) => read.it),
  pt: () => import("./words/pt").then((read) => read.pt),
  ru: () => import("./words/ru").then((read) => read.ru),
  ja: () => import("./words/ja").then((read) => read.ja),
  zh: () => import("./words/zh").then((read) => read.zh),
} as const satisfies Record<string, () => Promise<Words>>;

export type Language = "en" | keyof typeof OTHERS;
export const LANGUAGES: readonly Language[] = ["en", ...(Object.keys(OTHERS) as (keyof typeof OTHERS)[])];

/** The page's language for a BCP 47 tag. */
export function languageFor(tag: string | null | undefined): Language {
  const primary = (tag ?? "").trim().split(/[-_]/)[0]?.toLowerCase();
  return LANGUAGES.find((language) => language === primary) ?? "en";
}

/** English when the dictionary cannot be fetched: better than no page. */
export async function wordsOf(language: Language): Promise<{ language: Language; words: Words }> {
  if (language === "en") return { language, words: en };
  return OTHERS[language]().then(
    (words) => ({ language, words }),
    () => ({ language: "en" as const, words: en }),
  );
}

/** `{name}` for each name given. */
export function fill(text: string, gaps: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (gap, name: string) => String(gaps[name] ?? gap));
}

/** A moment as people say it where they are. */
export function momentIn(language: string, at: string, zone?: string): string | null {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return null;
  const form = new Intl.DateTimeFormat(language, { weekday: "long", day: "numeric", month: "long", year: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short", ...(zone ? { timeZone: zone } : {}) });
  return form.format(date);
}
