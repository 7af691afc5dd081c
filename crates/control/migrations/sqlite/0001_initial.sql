-- Times are integer milliseconds since 1970 UTC. Ids are snowflakes. Booleans are 0 and 1.

CREATE TABLE servers (
    id               INTEGER NOT NULL PRIMARY KEY,
    name             TEXT    NOT NULL UNIQUE,
    kind             TEXT    NOT NULL CHECK (kind IN ('INTERNAL', 'EXTERNAL')),
    enabled          INTEGER NOT NULL,
    ipv4             TEXT,
    ipv6             TEXT,
    max_rooms        INTEGER NOT NULL,
    max_participants INTEGER NOT NULL,
    -- Lower case, for `search`: SQLite's own lower() knows ASCII only.
    search_text      TEXT    NOT NULL,
    created_at       INTEGER NOT NULL
);

CREATE TABLE rooms (
    id                  INTEGER NOT NULL PRIMARY KEY,
    extension_number    TEXT    NOT NULL UNIQUE,
    mode                TEXT    NOT NULL,
    control             TEXT    NOT NULL,
    height              INTEGER NOT NULL,
    width               INTEGER NOT NULL,
    bitrate             INTEGER NOT NULL,
    framerate           INTEGER NOT NULL,
    layout              TEXT    NOT NULL,
    subject             TEXT    NOT NULL,
    language            TEXT,
    capacity            INTEGER NOT NULL,
    admin_pin           TEXT,
    room_pin            TEXT,
    enable_recording    INTEGER NOT NULL,
    enable_prompt       INTEGER NOT NULL,
    timezone            TEXT,
    scheduled_start_at  INTEGER,
    scheduled_end_at    INTEGER,
    numbers             TEXT,
    internal_invitees   TEXT,
    external_invitees   TEXT,
    outbound_caller_ids TEXT,
    custom_options      TEXT,
    token               TEXT    NOT NULL,
    -- Policies for the present or the next call; cleared when the room empties.
    locked              INTEGER NOT NULL DEFAULT 0,
    muted               INTEGER NOT NULL DEFAULT 0,
    search_text         TEXT    NOT NULL,
    created_at          INTEGER NOT NULL
);
CREATE INDEX rooms_by_creation ON rooms (created_at, id);
CREATE INDEX rooms_by_subject ON rooms (subject, id);

-- Which server a room lives on while it is active; the epoch grows with each claim, so that a late writer is known.
CREATE TABLE room_ownership (
    room_id    INTEGER NOT NULL PRIMARY KEY REFERENCES rooms (id) ON DELETE CASCADE,
    server_id  INTEGER REFERENCES servers (id) ON DELETE SET NULL,
    epoch      INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
);

-- Outlives its room: no reference to it.
CREATE TABLE recordings (
    id          INTEGER NOT NULL PRIMARY KEY,
    room_id     INTEGER NOT NULL,
    server_id   INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('RECORDING', 'FINISHED', 'RECOVERED', 'FAILED')),
    answered_at INTEGER NOT NULL,
    ended_at    INTEGER,
    duration_ms INTEGER,
    -- As people see it.
    file_name   TEXT    NOT NULL,
    -- Below recordings.dir.
    path        TEXT    NOT NULL,
    file_size   INTEGER,
    sha256      BLOB,
    reason      TEXT,
    is_read     INTEGER NOT NULL DEFAULT 0,
    part_of     INTEGER
);
CREATE INDEX recordings_by_room ON recordings (room_id, answered_at, id);
CREATE INDEX recordings_by_digest ON recordings (sha256);
CREATE INDEX recordings_by_state ON recordings (state, ended_at);

CREATE TABLE tokens (
    id         INTEGER NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    -- SHA-256 of the token's text; the text itself is nowhere.
    digest     BLOB    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
);

-- What this installation made up for itself: the key of signed URLs, that the first token was made.
CREATE TABLE installation (
    name  TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
);
