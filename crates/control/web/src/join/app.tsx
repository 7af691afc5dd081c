//! The page: what the link leads to, in the room's language; before, in and after the conference.
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { look, tokenIn } from "./api";
import { Call } from "./call";
import { conference, whyOf, type Conference } from "./conference";
import { languageFor, wordsOf } from "./language";
import { Lobby } from "./lobby";
import { media, type Media } from "./media";
import { tell } from "./notes";
import { ending, passes, reason, whyOfInfo } from "./reasons";
import { shown, type Why } from "./session";
import { ENGLISH, SpeechContext, useSpeech, type Speech } from "./speech";
import { useStore } from "./store";
import { Toasts } from "./toasts";
import { changeText, micText } from "./told";
import type { Info } from "./types";

const LOOK_MS = 15_000;

export function App() {
  const token = useMemo(() => tokenIn(window.location.pathname), []);
  const [info, setInfo] = useState<Info | null>(null);
  const [failed, setFailed] = useState<Why | null>(null);
  const [speech, setSpeech] = useState<Speech | null>(null);
  const load = async () => {
    try {
      const read = await look(token);
      setSpeech(await wordsOf(languageFor(read.room.language)));
      setFailed(null);
      setInfo(read);
    } catch (error) {
      // Which room it is, and so its language, is not known: the visitor's own is the best guess.
      if (!info) setSpeech(await wordsOf(languageFor(navigator.language)));
      setFailed(whyOf(error));
    }
  };
  useEffect(() => void load(), []);
  useAgain(info === null && passes(failed), null, load);
  useEffect(() => {
    if (speech) document.documentElement.lang = speech.language;
    if (info) document.title = `${info.room.subject || info.room.extension_number} – Conclave`;
  }, [speech, info]);
  return (
    <SpeechContext.Provider value={speech ?? ENGLISH}>
      {info ? <Room token={token} info={info} load={load} /> : <Door failed={failed} onRetry={load} />}
      <Toasts />
    </SpeechContext.Provider>
  );
}

/** Looks again every now and then, and as the room opens. */
function useAgain(isWanted: boolean, opensAt: string | null, load: () => Promise<void>): void {
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    if (!isWanted) return;
    const often = window.setInterval(() => document.hidden || void latest.current(), LOOK_MS);
    const until = opensAt ? Date.parse(opensAt) - Date.now() : NaN;
    // Not of a conference weeks ahead: timers hold no more than 24 days.
    const once = until > 0 && until < 24 * 3_600_000 ? window.setTimeout(() => void latest.current(), until + 500) : 0;
    return () => {
      window.clearInterval(often);
      window.clearTimeout(once);
    };
  }, [isWanted, opensAt]);
}

/** Before the room is known, or when there is none. */
function Door({ failed, onRetry }: { failed: Why | null; onRetry: () => Promise<void> }) {
  const { words, language } = useSpeech();
  return (
    <main class="narrow">
      <p class="state" data-testid="state" data-state="lobby">{failed ? words.state_lobby : words.loading}</p>
      {failed && (
        <div class="card">
          <h1>Conclave</h1>
          <p class="reason" role="alert" data-testid="reason" data-code={failed.code}>{reason(failed, words, language)}</p>
          {failed.code !== "NOT_FOUND" && <button type="button" onClick={() => void onRetry()}>{words.check_again}</button>}
        </div>
      )}
    </main>
  );
}

interface Made {
  conference: Conference;
  media: Media;
}

function Room({ token, info, load }: { token: string; info: Info; load: () => Promise<void> }) {
  const speech = useSpeech();
  const latest = useRef({ info, words: speech.words });
  latest.current = { info, words: speech.words };
  const [made] = useState<Made>(() => {
    const own = media();
    const onChange = (change: Parameters<typeof changeText>[0]) => tell(changeText(change, latest.current.words));
    const onMic = (news: Parameters<typeof micText>[0]) => tell(micText(news, latest.current.words));
    return { media: own, conference: conference(token, () => latest.current.info, own, { onChange, onMic }) };
  });
  useEffect(() => () => (made.conference.close(), made.media.stop()), []);
  const state = useStore(made.conference.state);
  const view = useStore(made.conference.view);
  const at = shown(state);
  const why = state.at === "lobby" ? (state.why ?? whyOfInfo(info)) : null;
  useAgain(passes(why), why?.startsAt ?? null, async () => {
    await load();
    // It may have opened: what was said about it no longer holds.
    if (latest.current.info.state === "OPEN" && made.conference.state.get().at === "lobby") made.conference.again();
  });
  useEffect(() => {
    if (at === "ended") made.media.stop();
  }, [at]);
  const isInside = at === "joined" || at === "reconnecting";
  const said = {
    lobby: speech.words.state_lobby,
    joining: speech.words.state_joining,
    joined: view?.state === "WAITING" ? speech.words.state_waiting : speech.words.state_joined,
    reconnecting: speech.words.state_reconnecting,
    ended: speech.words.state_ended,
  }[at];
  const title = view?.room.subject || info.room.subject || speech.say("conference", { number: info.room.extension_number });
  return (
    <main class={isInside ? "call" : "narrow"}>
      <Title text={title} focus={at === "joined" || at === "ended" ? at : null}>
        <div class="flags">
          {view?.room.recording && <span class="badge live" data-testid="is-recording">{speech.words.recording}</span>}
          {view?.room.locked && <span class="badge warn" data-testid="is-locked">{speech.words.locked}</span>}
          <p class="state" role="status" data-testid="state" data-state={at}>{said}</p>
        </div>
      </Title>
      {isInside ? (
        <Call conference={made.conference} media={made.media} />
      ) : state.at === "ended" ? (
        <div class="card ended" data-testid="ended" data-reason={state.reason}>
          <p role="alert">{ending(state.reason, speech.words)}</p>
          <button type="button" class="primary" data-testid="again" onClick={() => (made.conference.again(), void load())}>{speech.words.join_again}</button>
        </div>
      ) : (
        <Lobby conference={made.conference} media={made.media} info={info} why={why} isJoining={at === "joining"} onRetry={load} />
      )}
    </main>
  );
}

/** The heading takes the focus as the page becomes another one: what had it before is gone. */
function Title({ text, focus, children }: { text: string; focus: string | null; children: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    if (focus !== null && (document.activeElement === document.body || document.activeElement === null)) heading.current?.focus();
  }, [focus]);
  return (
    <header class="top">
      <h1 ref={heading} tabIndex={-1}>{text}</h1>
      {children}
    </header>
  );
}
