//! How people come into a room: its link, and links for one person that need no PIN.
import { useState } from "preact/hooks";
import { act, ApiError, mayOperate } from "./api";
import type { Room } from "./types";
import { Act, asError, Link, Problem } from "./ui";

interface Personal {
  token: string;
  name: string | null;
  role: string;
  /** A path when the server does not know where it is reached. */
  url: string;
}

export function Links({ path, room, onRevoked }: { path: string; room: Room; onRevoked: () => void }) {
  const [error, setError] = useState<ApiError | null>(null);
  const [made, setMade] = useState<Personal[]>([]);
  const [name, setName] = useState("");
  const [role, setRole] = useState("PARTICIPANT");
  const [days, setDays] = useState("1");
  const [busy, setBusy] = useState(false);
  if (!mayOperate() || !room.token) return null;
  const make = async (event: Event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setError(null);
    try {
      const personal = await act<Personal>(`${path}/tokens`, { role, name: name.trim() || null, expires_in: Number(days) * 86_400 });
      if (personal) setMade((before) => [personal, ...before]);
      setName("");
    } catch (caught) {
      const refused = asError(caught);
      // The room is there, so it is the path that an older server does not have.
      const old = refused.status === 404 || refused.status === 405;
      setError(old ? new ApiError(refused.status, [{ code: refused.code, message: "This server makes no personal links yet.", detail: null }]) : refused);
    } finally {
      setBusy(false);
    }
  };
  return (
    <section aria-labelledby="links">
      <h2 id="links">Links</h2>
      <Link label="Join link" value={`${location.origin}/r/${room.token}`} />
      <form class="row personal" onSubmit={make}>
        <label><span>Personal link for</span><input maxLength={64} placeholder="Name" autocomplete="off" value={name} onInput={(event) => setName(event.currentTarget.value)} /></label>
        <label><span>As</span>
          <select value={role} onChange={(event) => setRole(event.currentTarget.value)}>
            <option value="PARTICIPANT">Participant</option><option value="CHAIRMAN">Chairman</option>
          </select></label>
        <label><span>Valid for</span>
          <select value={days} onChange={(event) => setDays(event.currentTarget.value)}>
            <option value="1">1 day</option><option value="7">7 days</option><option value="30">30 days</option>
          </select></label>
        <button type="submit" data-testid="create-token" aria-busy={busy}>Make the link</button>
        <Act
          name="revoke-tokens"
          look="danger"
          act={() => act(`${path}/tokens/revoke`)}
          onError={setError}
          onDone={() => {
            setMade([]);
            onRevoked();
          }}
          confirm={{ title: "Revoke all links?", text: "The join link and all personal links of this room stop working. The room gets a new join link.", yes: "Revoke all" }}
        >
          Revoke all links
        </Act>
      </form>
      <Problem error={error} />
      {made.map((one) => <Link key={one.token} label={`Link for ${one.name ?? "a guest"} (${one.role === "CHAIRMAN" ? "chairman" : "participant"}; needs no PIN)`} value={new URL(one.url, location.origin).href} />)}
    </section>
  );
}
