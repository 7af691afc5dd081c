-- Every event, in the order in which it became true: what streams replay and webhooks are fed from.
CREATE TABLE events (
    cursor           INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at               INTEGER NOT NULL,
    -- NULL: of no room. No reference: events outlive their room.
    room_id          INTEGER,
    extension_number TEXT,
    -- Without gaps in each room, from 1; those of no room count together.
    sequence         INTEGER NOT NULL,
    kind             TEXT    NOT NULL,
    -- JSON.
    data             TEXT    NOT NULL
);
CREATE INDEX events_by_room ON events (room_id, cursor);
CREATE INDEX events_by_time ON events (at);

-- The last sequence number of each room; of no room: 0.
CREATE TABLE event_sequences (
    room_id INTEGER NOT NULL PRIMARY KEY,
    last    INTEGER NOT NULL
);

-- Another one at each change of a room's settings, never the same again: what was read before is known by it.
ALTER TABLE rooms ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
