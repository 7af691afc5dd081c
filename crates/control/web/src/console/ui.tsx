//! The console's building blocks: buttons that wait, refusals in the API's words, questions before what cannot be undone.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Dialog } from "../shared/dialog";
import { ApiError } from "./api";
import { inWords } from "./words";

export { Dialog };

export const asError = (error: unknown): ApiError =>
  error instanceof ApiError ? error : new ApiError(0, [{ code: "UNKNOWN", message: error instanceof Error ? error.message : String(error), detail: null }]);

export function Problem({ error, onRetry }: { error: ApiError | null; onRetry?: () => void }) {
  if (!error) return null;
  return (
    <div class="problem" role="alert" data-testid="problem" data-code={error.code}>
      <div>
        {error.errors.map((reason) => (
          <p key={reason.message}>{inWords(reason.message)}</p>
        ))}
      </div>
      {onRetry && <button type="button" onClick={onRetry}>Try again</button>}
    </div>
  );
}

interface ActProps {
  act: () => Promise<unknown>;
  children: ComponentChildren;
  onError: (error: ApiError | null) => void;
  onDone?: () => void;
  look?: "primary" | "danger" | "quiet";
  name?: string;
  label?: string;
  disabled?: boolean;
  /** What is asked first; the act is done when the answer is yes. */
  confirm?: { title: string; text: string; yes: string };
}

/** A button that does something at the server: once at a time, its refusal told. */
export function Act(props: ActProps) {
  const [busy, setBusy] = useState(false);
  const [asking, setAsking] = useState(false);
  const here = useRef(true);
  useEffect(() => () => void (here.current = false), []);
  const run = async () => {
    setAsking(false);
    setBusy(true);
    props.onError(null);
    try {
      await props.act();
      props.onDone?.();
    } catch (error) {
      props.onError(asError(error));
    } finally {
      if (here.current) setBusy(false);
    }
  };
  return (
    <>
      <button
        type="button"
        class={props.look}
        data-testid={props.name}
        aria-label={props.label}
        aria-busy={busy}
        disabled={props.disabled}
        onClick={() => !busy && (props.confirm ? setAsking(true) : void run())}
      >
        {props.children}
      </button>
      {asking && props.confirm && (
        <Dialog title={props.confirm.title} onClose={() => setAsking(false)}>
          <p>{props.confirm.text}</p>
          <div class="row end">
            <button type="button" onClick={() => setAsking(false)}>Cancel</button>
            <button type="button" class="danger" data-testid="confirm" onClick={() => void run()}>{props.confirm.yes}</button>
          </div>
        </Dialog>
      )}
    </>
  );
}

export function Badge({ tone, children }: { tone: "good" | "bad" | "live" | "plain" | "warn"; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <p class="strong">{title}</p>
      {children && <p>{children}</p>}
    </div>
  );
}

export const Loading = () => <p class="muted" role="status">Loading…</p>;

export function Head({ title, children, back }: { title: string; children?: ComponentChildren; back?: { href: string; text: string } }) {
  useEffect(() => {
    document.title = `${title} – Conclave`;
  }, [title]);
  return (
    <header class="head">
      <div>
        {back && <a class="back" href={back.href}>← {back.text}</a>}
        <h1 tabIndex={-1}>{title}</h1>
      </div>
      {children && <div class="row">{children}</div>}
    </header>
  );
}

/** Copies, and says so to everybody: also to those who hear the page. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState("");
  const copy = () => {
    // Without TLS browsers offer no clipboard; the text stands beside the button to be taken by hand.
    if (!navigator.clipboard) return setDone("Select and copy it");
    navigator.clipboard.writeText(text).then(
      () => setDone("Copied"),
      () => setDone("Select and copy it"),
    );
  };
  return (
    <>
      <button type="button" aria-label={label} onClick={copy}>Copy</button>
      <span class="muted" role="status">{done}</span>
    </>
  );
}

export function Link({ label, value }: { label: string; value: string }) {
  return (
    <div class="link">
      <label>
        <span>{label}</span>
        <input readOnly value={value} onFocus={(event: JSX.TargetedFocusEvent<HTMLInputElement>) => event.currentTarget.select()} />
      </label>
      <Copy text={value} label={`Copy ${label}`} />
    </div>
  );
}

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
export function When({ at, none = "–" }: { at: string | null; none?: string }) {
  const time = at ? new Date(at) : null;
  if (!at || !time || Number.isNaN(time.getTime())) return <span>{none}</span>;
  return <time dateTime={at}>{clock.format(time)}</time>;
}

export function duration(seconds: number | null): string {
  if (seconds === null) return "–";
  const two = (count: number) => String(Math.floor(count)).padStart(2, "0");
  return seconds >= 3600 ? `${Math.floor(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}` : `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
}

export function bytes(count: number | null): string {
  if (count === null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `"Bob"<sip:101@host>` → Bob. */
export function nameOf(display: string, fallback = ""): string {
  const quoted = /^\s*"((?:[^"\\]|\\.)*)"/.exec(display)?.[1]?.replace(/\\(.)/g, "$1").trim();
  if (quoted) return quoted;
  const plain = /^([^<"]*)</.exec(display)?.[1]?.trim();
  return plain || /<sips?:([^@>;]+)/i.exec(display)?.[1] || fallback || display;
}
