//! The console's frame: sign-in or navigation, and the view that the address names.
import { useEffect, useRef, useState } from "preact/hooks";
import { mayAdminister, onSession, signedIn, signInWithPassword, signInWithToken, signOut, type ApiError } from "./api";
import { Events } from "./events";
import { Recordings } from "./recordings";
import { RoomForm } from "./room_form";
import { RoomView } from "./room";
import { Rooms } from "./rooms";
import { followed, go, hrefOf, usePlace } from "./router";
import { Servers } from "./servers";
import { asError, Empty, Head, Problem } from "./ui";
import { Webhooks } from "./webhooks";

const VIEWS = [
  ["servers", "Servers"],
  ["rooms", "Rooms"],
  ["recordings", "Recordings"],
  ["webhooks", "Webhooks"],
  ["events", "Events"],
] as const;

export function App() {
  const [, turn] = useState(0);
  useEffect(() => onSession(() => turn((count) => count + 1)), []);
  return signedIn() ? <Frame /> : <SignIn />;
}

function Frame() {
  const place = usePlace();
  const [view = "rooms"] = place.parts;
  const content = useRef<HTMLElement>(null);
  const path = place.parts.join("/");
  const first = useRef(true);
  useEffect(() => {
    if (place.parts.length === 0) go(hrefOf("rooms"), true);
    // Who cannot see that the view has changed hears its heading.
    if (!first.current) content.current?.querySelector("h1")?.focus();
    first.current = false;
  }, [path]);
  return (
    <div class="frame" onClick={followed}>
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), content.current?.focus())}>Skip to the content</a>
      <nav aria-label="Views">
        <p class="brand">Conclave</p>
        <ul>
          {VIEWS.filter(([name]) => name !== "webhooks" || mayAdminister()).map(([name, title]) => (
            <li key={name}>
              <a href={hrefOf(name)} data-testid={`nav-${name}`} aria-current={view === name ? "page" : undefined}>{title}</a>
            </li>
          ))}
        </ul>
        <div class="who">
          <p>{signedIn()?.name}<span class="muted"> · {signedIn()?.role}</span></p>
          <button type="button" data-testid="sign-out" onClick={() => void signOut()}>Sign out</button>
        </div>
      </nav>
      <main id="content" ref={content} tabIndex={-1}>
        <View parts={place.parts} query={place.query} />
      </main>
    </div>
  );
}

function View({ parts, query }: { parts: string[]; query: string }) {
  const [view, id, more] = parts;
  if (view === undefined) return null;
  if (view === "servers" && !id) return <Servers />;
  if (view === "rooms") {
    if (!id) return <Rooms query={query} />;
    if (id === "new") return <RoomForm key="new" id={null} />;
    if (more === "edit") return <RoomForm key={id} id={id} />;
    if (!more) return <RoomView key={id} id={id} />;
  }
  if (view === "recordings" && !id) return <Recordings />;
  if (view === "webhooks" && !id) return <Webhooks />;
  if (view === "events" && !id) return <Events />;
  return (
    <>
      <Head title="Not found" />
      <Empty title="There is no such page.">Choose one from the navigation.</Empty>
    </>
  );
}

function SignIn() {
  const [error, setError] = useState<ApiError | null>(null);
  const [busy, setBusy] = useState(false);
  const [username, setUsername] = useState("");
  const [password, setPassword] = useState("");
  const [token, setToken] = useState("");
  useEffect(() => {
    document.title = "Sign in – Conclave";
  }, []);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    if (!token.trim() && !(username && password)) return setError(asError(new Error("Enter a user and a password, or an API token.")));
    setBusy(true);
    setError(null);
    try {
      if (token.trim()) await signInWithToken(token.trim());
      else await signInWithPassword(username, password);
    } catch (caught) {
      setError(asError(caught));
      setBusy(false);
    }
  };
  return (
    <main class="sign-in">
      <form onSubmit={submit} noValidate>
        <p class="brand">Conclave</p>
        <h1>Sign in to the console</h1>
        <label><span>User</span>
          <input data-testid="sign-in-username" autocomplete="username" value={username} onInput={(event) => setUsername(event.currentTarget.value)} /></label>
        <label><span>Password</span>
          <input type="password" data-testid="sign-in-password" autocomplete="current-password" value={password} onInput={(event) => setPassword(event.currentTarget.value)} /></label>
        <p class="or"><span>or</span></p>
        <label><span>API token</span>
          <input type="password" data-testid="sign-in-token" autocomplete="off" value={token} onInput={(event) => setToken(event.currentTarget.value)} /></label>
        <Problem error={error} />
        <button type="submit" class="primary" data-testid="sign-in" aria-busy={busy}>Sign in</button>
      </form>
    </main>
  );
}
