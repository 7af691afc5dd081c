//! Webhooks: who is told about events, and what could not be delivered.
import { useState } from "preact/hooks";
import { act, fetched, mayAdminister, type ApiError } from "./api";
import { Form } from "./form";
import { description, useLoaded } from "./live";
import { bodyFrom, bodyOf, fieldsOf, valuesOf, type Description } from "./schema";
import type { Delivery, List, Webhook } from "./types";
import { Act, Badge, Dialog, Empty, Head, Link, Loading, Problem, When } from "./ui";
import { kindLabel } from "./words";

const LIST = "/api/webhooks";
const at = (id: string) => `${LIST}/${encodeURIComponent(id)}`;

export function Webhooks() {
  const list = useLoaded<List<Webhook>>("webhooks", (signal) => fetched(`${LIST}?top=100`, signal));
  const [error, setError] = useState<ApiError | null>(null);
  const [editing, setEditing] = useState<Webhook | "new" | null>(null);
  const [secret, setSecret] = useState<string | null>(null);
  return (
    <>
      <Head title="Webhooks">
        {mayAdminister() && <button type="button" class="primary" data-testid="create-webhook" onClick={() => setEditing("new")}>New webhook</button>}
      </Head>
      <Problem error={error ?? list.error} onRetry={list.reload} />
      {!list.value && !list.error && <Loading />}
      {list.value?.items.length === 0 && <Empty title="No webhooks.">Make one to have another system told about rooms, participants and recordings.</Empty>}
      <ul class="cards list">
        {list.value?.items.map((hook) => <Hook key={hook.id} hook={hook} onError={setError} onChange={list.reload} onEdit={() => setEditing(hook)} />)}
      </ul>
      {editing && (
        <Edit
          hook={editing === "new" ? null : editing}
          onClose={() => setEditing(null)}
          onSaved={(made) => {
            setEditing(null);
            setSecret(made);
            list.reload();
          }}
        />
      )}
      {secret && (
        <Dialog title="The webhook's secret" onClose={() => setSecret(null)}>
          <p>Deliveries are signed with it. Keep it now: it is not shown again.</p>
          <Link label="Secret" value={secret} />
          <div class="row end"><button type="button" class="primary" onClick={() => setSecret(null)}>Done</button></div>
        </Dialog>
      )}
    </>
  );
}

function Hook({ hook, onError, onChange, onEdit }: { hook: Webhook; onError: (error: ApiError | null) => void; onChange: () => void; onEdit: () => void }) {
  const own = hook.source === "API";
  const [turn, setTurn] = useState(0);
  return (
    <li class="card" data-testid="webhook-row" data-id={hook.id}>
      <div class="row between">
        <h2 class="break">{hook.url}</h2>
        <div class="row">
          <Badge tone={hook.enabled ? "good" : "warn"}>{hook.enabled ? "Enabled" : "Disabled"}</Badge>
          {!own && <Badge tone="plain">From the settings</Badge>}
        </div>
      </div>
      <p class="muted">{hook.types.length > 0 ? hook.types.map(kindLabel).join(", ") : "All events but talking and silence"}</p>
      <div class="row">
        <Act name="action-test" act={() => act(`${at(hook.id)}/test`)} onError={onError} onDone={() => setTurn((count) => count + 1)}>Send a test</Act>
        {own && <Act name={hook.enabled ? "action-disable" : "action-enable"} act={() => act(at(hook.id), { enabled: !hook.enabled })} onError={onError} onDone={onChange}>{hook.enabled ? "Disable" : "Enable"}</Act>}
        {own && <button type="button" data-testid="edit" onClick={onEdit}>Edit</button>}
        {own && (
          <Act name="destroy" look="danger" act={() => act(`${at(hook.id)}/destroy`)} onError={onError} onDone={onChange} confirm={{ title: "Delete the webhook?", text: `${hook.url} is not told about anything any more, and what waits for it is given up.`, yes: "Delete" }}>Delete</Act>
        )}
      </div>
      <Deliveries path={`${at(hook.id)}/deliveries`} turn={turn} onError={onError} />
    </li>
  );
}

function Deliveries({ path, turn, onError }: { path: string; turn: number; onError: (error: ApiError | null) => void }) {
  const list = useLoaded<List<Delivery>>(`${path} ${turn}`, (signal) => fetched(`${path}?top=50`, signal), 10_000);
  if (list.error) return <Problem error={list.error} onRetry={list.reload} />;
  if (!list.value) return null;
  if (list.value.count === 0) return <p class="help">Everything was delivered.</p>;
  return (
    <details>
      <summary>{list.value.count} not delivered</summary>
      <ul class="plain">
        {list.value.items.map((one) => (
          <li key={one.cursor} class="delivery" data-testid={one.state === "DEAD" ? "dead-letter-row" : "delivery-row"} data-cursor={one.cursor}>
            <div>
              <span class="strong">{one.type}</span>{" "}
              <Badge tone={one.state === "DEAD" ? "bad" : "warn"}>{one.state === "DEAD" ? "Given up" : "Waiting"}</Badge>
              <p class="muted">
                <When at={one.queued_at} /> · {one.attempts} {one.attempts === 1 ? "attempt" : "attempts"}
                {one.last_status ? ` · answered ${one.last_status}` : ""}{one.last_error ? ` · ${one.last_error}` : ""}
                {one.next_at && <> · again <When at={one.next_at} /></>}
              </p>
            </div>
            <div class="row">
              <Act name="action-retry" label={`Retry ${one.type}, event ${one.cursor}`} act={() => act(`${path}/${one.cursor}/retry`)} onError={onError} onDone={list.reload}>Retry</Act>
              <Act
                name="action-forget"
                look="danger"
                label={`Forget ${one.type}, event ${one.cursor}`}
                act={() => act(`${path}/${one.cursor}/destroy`)}
                onError={onError}
                onDone={list.reload}
                confirm={{ title: "Forget the delivery?", text: "The webhook is never told about this event.", yes: "Forget it" }}
              >
                Forget
              </Act>
            </div>
          </li>
        ))}
      </ul>
      {list.value.count > list.value.items.length && <p class="help">The first {list.value.items.length} are shown.</p>}
    </details>
  );
}

function Edit({ hook, onClose, onSaved }: { hook: Webhook | null; onClose: () => void; onSaved: (secret: string | null) => void }) {
  const api = useLoaded<Description>("api", () => description<Description>());
  const body = api.value && bodyOf(api.value, hook ? `${LIST}/{id}` : LIST);
  const fields = api.value && body ? fieldsOf(api.value, body) : null;
  const initial = fields && valuesOf(fields, hook ? { ...hook } : {});
  return (
    <Dialog title={hook ? "Edit the webhook" : "New webhook"} onClose={onClose} wide>
      <Problem error={api.error} />
      {!fields || !initial ? (
        <Loading />
      ) : (
        <Form
          fields={fields}
          initial={initial}
          save={hook ? "Save" : "Create"}
          onCancel={onClose}
          onSave={async (values) => {
            const made = await act<{ secret?: string }>(hook ? at(hook.id) : LIST, bodyFrom(fields, values, hook ? initial : undefined));
            onSaved(made?.secret ?? null);
          }}
        />
      )}
    </Dialog>
  );
}
