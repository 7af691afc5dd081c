-- What those who are invited to a room were told last: iCalendar's UID and SEQUENCE (RFC 5545 §3.8.7.4).
CREATE TABLE invitations (
    room_id  BIGINT NOT NULL PRIMARY KEY,
    -- Of the room's calendar entry, from its first to its last.
    uid      TEXT   COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL
);

-- Mail that is to be sent. What was sent or given up is not kept.
CREATE TABLE letters (
    id         BIGINT NOT NULL PRIMARY KEY,
    room_id    BIGINT NOT NULL,
    recipient  TEXT   COLLATE "C" NOT NULL,
    -- JSON: all that it says, as it was then.
    content    TEXT   COLLATE "C" NOT NULL,
    attempts   BIGINT NOT NULL,
    queued_at  BIGINT NOT NULL,
    next_at    BIGINT NOT NULL,
    last_error TEXT   COLLATE "C"
);
CREATE INDEX letters_by_time ON letters (next_at, id);
CREATE INDEX letters_by_room ON letters (room_id, recipient);
