//! A question or a form before everything else on the page.
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

/** Modal: the browser keeps the focus inside, and Escape closes it. */
export function Dialog({ title, children, onClose, wide }: { title: string; children: ComponentChildren; onClose: () => void; wide?: boolean }) {
  const box = useRef<HTMLDialogElement>(null);
  // Before the browser paints: who types on at once, types into it.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const dialog = box.current;
    dialog?.showModal();
    return () => {
      // While it is open, nothing outside it takes the focus.
      dialog?.close();
      (before as HTMLElement | null)?.focus?.();
    };
  }, []);
  return (
    <dialog ref={box} class={wide ? "wide" : undefined} aria-label={title} onCancel={(event) => (event.preventDefault(), onClose())}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}
