//! A value that views follow.
import { useEffect, useState } from "preact/hooks";

export interface Store<T> {
  get: () => T;
  set: (next: T) => void;
  on: (listener: () => void) => () => void;
}

export function store<T>(first: T): Store<T> {
  let value = first;
  const listeners = new Set<() => void>();
  return {
    get: () => value,
    set: (next) => {
      if (Object.is(next, value)) return;
      value = next;
      for (const listener of [...listeners]) listener();
    },
    on: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
  };
}

export function useStore<T>(from: Store<T>): T {
  const [, again] = useState({});
  useEffect(() => {
    const stop = from.on(() => again({}));
    // It may have changed between the first look and now.
    again({});
    return stop;
  }, [from]);
  return from.get();
}
