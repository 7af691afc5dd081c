//! The console's addresses: `/console/…` in the browser's history, so that views can be linked to and gone back to.
import { useEffect, useState } from "preact/hooks";

const BASE = "/console";
const watchers = new Set<() => void>();

export interface Place {
  parts: string[];
  query: string;
}

export function placeOf(path: string, query: string): Place {
  const rest = path.startsWith(BASE) ? path.slice(BASE.length) : "";
  const parts = rest.split("/").filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  return { parts, query };
}

export const hrefOf = (...parts: string[]): string => [BASE, ...parts.map(encodeURIComponent)].join("/");

export function go(href: string, replace = false): void {
  if (replace) history.replaceState(null, "", href);
  else history.pushState(null, "", href);
  watchers.forEach((watcher) => watcher());
}

/** A click that stays in the page; one with a key or another button is the browser's. */
export function followed(event: MouseEvent): void {
  const link = (event.target as Element | null)?.closest?.("a");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (link.origin !== location.origin || link.target || link.hasAttribute("download")) return;
  if (link.pathname !== BASE && !link.pathname.startsWith(`${BASE}/`)) return;
  event.preventDefault();
  go(link.pathname + link.search);
}

export function usePlace(): Place {
  const [, turn] = useState(0);
  useEffect(() => {
    const watcher = () => turn((count) => count + 1);
    watchers.add(watcher);
    addEventListener("popstate", watcher);
    return () => {
      watchers.delete(watcher);
      removeEventListener("popstate", watcher);
    };
  }, []);
  return placeOf(location.pathname, location.search);
}
