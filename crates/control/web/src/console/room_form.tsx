//! Making and changing a room, by a form that the API's description gives.
import { act, fetched } from "./api";
import { Form } from "./form";
import { description, useLoaded } from "./live";
import { go, hrefOf } from "./router";
import { bodyFrom, bodyOf, fieldsOf, valuesOf, type Description } from "./schema";
import type { Room } from "./types";
import { Head, Loading, Problem } from "./ui";

const LIST = "/api/conference_rooms";

export function RoomForm({ id }: { id: string | null }) {
  const loaded = useLoaded(id ?? "new", async (signal) => {
    const path = id === null ? null : `${LIST}/${encodeURIComponent(id)}`;
    const [api, room] = await Promise.all([description<Description>(), path ? fetched<Room>(path, signal) : null]);
    const making = bodyOf(api, LIST);
    const changing = bodyOf(api, `${LIST}/{id}`);
    if (!making || !changing) throw new Error("The server's description of its API lacks the rooms.");
    const fields = room ? fieldsOf(api, changing, making) : fieldsOf(api, making);
    return { room, fields, initial: valuesOf(fields, room ?? {}) };
  });
  const value = loaded.value;
  const title = id === null ? "New room" : value?.room ? `Edit ${value.room.subject}` : "Edit room";
  const back = id === null ? { href: hrefOf("rooms"), text: "Rooms" } : { href: hrefOf("rooms", id), text: value?.room?.subject ?? "Room" };
  return (
    <>
      <Head title={title} back={back} />
      <Problem error={loaded.error} onRetry={loaded.reload} />
      {!value && !loaded.error && <Loading />}
      {value && (
        <Form
          fields={value.fields}
          initial={value.initial}
          save={id === null ? "Create the room" : "Save"}
          unique="extension_number"
          onCancel={() => go(back.href)}
          onSave={async (values) => {
            if (id === null) {
              const made = await act<{ id: string }>(LIST, bodyFrom(value.fields, values));
              go(made ? hrefOf("rooms", made.id) : hrefOf("rooms"));
            } else {
              await act(`${LIST}/${encodeURIComponent(id)}`, bodyFrom(value.fields, values, value.initial));
              go(back.href);
            }
          }}
        />
      )}
    </>
  );
}
