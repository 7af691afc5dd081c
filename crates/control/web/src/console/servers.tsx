//! Servers: how loaded each is, what it may take, and whether it takes anything.
import { useState } from "preact/hooks";
import { act, fetched, mayAdminister, type ApiError } from "./api";
import { Form } from "./form";
import { description, useLoaded } from "./live";
import { bodyFrom, bodyOf, fieldsOf, valuesOf, type Description, type Schema } from "./schema";
import type { List, Server, ServerStatus } from "./types";
import { Act, Badge, Dialog, Empty, Head, Loading, Problem } from "./ui";

const LIST = "/api/conference_servers";
const at = (id: string) => `${LIST}/${encodeURIComponent(id)}`;

export function Servers() {
  const list = useLoaded<List<Server>>("servers", (signal) => fetched(`${LIST}?$orderby=name`, signal), 10_000);
  const [error, setError] = useState<ApiError | null>(null);
  const [editing, setEditing] = useState<Server | "new" | null>(null);
  return (
    <>
      <Head title="Servers">
        {mayAdminister() && <button type="button" class="primary" data-testid="create-server" onClick={() => setEditing("new")}>Add a server</button>}
      </Head>
      <Problem error={error ?? list.error} onRetry={list.reload} />
      {!list.value && !list.error && <Loading />}
      {list.value?.items.length === 0 && <Empty title="No servers.">Start a node, or add a server here and let its process claim it by its name.</Empty>}
      <ul class="cards">
        {list.value?.items.map((server) => (
          <Card key={server.id} server={server} onError={setError} onChange={list.reload} onEdit={() => setEditing(server)} />
        ))}
      </ul>
      {editing && (
        <Edit
          server={editing === "new" ? null : editing}
          onClose={() => setEditing(null)}
          onSaved={() => {
            setEditing(null);
            list.reload();
          }}
        />
      )}
    </>
  );
}

function Card({ server, onError, onChange, onEdit }: { server: Server; onError: (error: ApiError | null) => void; onChange: () => void; onEdit: () => void }) {
  const status = useLoaded<ServerStatus>(server.id, (signal) => fetched(`${at(server.id)}/status`, signal), 5_000);
  const now = status.value;
  return (
    <li class="card" data-testid="server-row" data-id={server.id}>
      <div class="row between">
        <h2>{server.name}</h2>
        <div class="row">
          {now && <Badge tone={now.status === "ONLINE" ? "good" : "bad"}>{now.status === "ONLINE" ? "Online" : "Offline"}</Badge>}
          {!server.enabled && <Badge tone="warn">Disabled</Badge>}
          <Badge tone="plain">{server.type === "INTERNAL" ? "Built in" : "External"}</Badge>
        </div>
      </div>
      <p class="muted">{[server.ipv4, server.ipv6].filter(Boolean).join(" · ")}</p>
      <Problem error={status.error} />
      {now && (
        <div class="meters">
          <Meter label="Rooms" value={now.rooms_count} max={server.max_rooms} />
          <Meter label="Participants" value={now.participants_count} max={server.max_participants} />
          <Meter label="CPU" value={now.cpu_usage} max={100} unit="%" />
          <Meter label="Memory" value={now.memory_usage} max={100} unit="%" />
        </div>
      )}
      {mayAdminister() && (
        <div class="row">
          <Act
            name={server.enabled ? "action-disable" : "action-enable"}
            act={() => act(at(server.id), { enabled: !server.enabled })}
            onError={onError}
            onDone={onChange}
          >
            {server.enabled ? "Disable" : "Enable"}
          </Act>
          <button type="button" data-testid="edit" aria-label={`Edit limits of ${server.name}`} onClick={onEdit}>Edit limits</button>
          {server.type === "EXTERNAL" && (
            <Act
              name="destroy"
              look="danger"
              label={`Delete ${server.name}`}
              act={() => act(`${at(server.id)}/destroy`)}
              onError={onError}
              onDone={onChange}
              confirm={{ title: `Delete ${server.name}?`, text: "Its process can then no longer claim it. A server that hosts active rooms is not deleted.", yes: "Delete" }}
            >
              Delete
            </Act>
          )}
        </div>
      )}
    </li>
  );
}

function Meter({ label, value, max, unit = "" }: { label: string; value: number; max: number; unit?: string }) {
  const name = `${label}: ${value}${unit}${unit ? "" : ` of ${max}`}`;
  return (
    <div class="meter">
      <span>{name}</span>
      <meter min={0} max={Math.max(max, 1)} high={Math.max(max, 1) * 0.85} value={value} aria-label={label}>{name}</meter>
    </div>
  );
}

function Edit({ server, onClose, onSaved }: { server: Server | null; onClose: () => void; onSaved: () => void }) {
  const api = useLoaded<Description>("api", () => description<Description>());
  const body: Schema | null = api.value && bodyOf(api.value, server ? `${LIST}/{id}` : LIST);
  const fields = api.value && body ? fieldsOf(api.value, body) : null;
  const initial = fields && valuesOf(fields, server ? { ...server } : {});
  return (
    <Dialog title={server ? `Limits of ${server.name}` : "Add a server"} onClose={onClose}>
      <Problem error={api.error} />
      {!fields || !initial ? (
        <Loading />
      ) : (
        <Form
          fields={fields}
          initial={initial}
          save={server ? "Save" : "Add"}
          unique="name"
          onCancel={onClose}
          onSave={async (values) => {
            await act(server ? at(server.id) : LIST, bodyFrom(fields, values, server ? initial : undefined));
            onSaved();
          }}
        />
      )}
    </Dialog>
  );
}
