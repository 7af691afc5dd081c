-- Times are integer milliseconds since 1970 UTC. Ids are snowflakes. Booleans are 0 and 1.

CREATE TABLE servers (
    id               BIGINT NOT NULL PRIMARY KEY,
    name             TEXT COLLATE "C" NOT NULL UNIQUE,
    kind             TEXT COLLATE "C" NOT NULL CHECK (kind IN ('INTERNAL', 'EXTERNAL')),
    enabled          BIGINT NOT NULL,
    ipv4             TEXT COLLATE "C",
    ipv6             TEXT COLLATE "C",
    max_rooms        BIGINT NOT NULL,
    max_participants BIGINT NOT NULL,
    -- Lower case, for `search`, made by us: databases differ in what lower() knows.
    search_text      TEXT COLLATE "C" NOT NULL,
    created_at       BIGINT NOT NULL
);

CREATE TABLE rooms (
    id                  BIGINT NOT NULL PRIMARY KEY,
    extension_number    TEXT COLLATE "C" NOT NULL UNIQUE,
    mode                TEXT COLLATE "C" NOT NULL,
    control             TEXT COLLATE "C" NOT NULL,
    height              BIGINT NOT NULL,
    width               BIGINT NOT NULL,
    bitrate             BIGINT NOT NULL,
    framerate           BIGINT NOT NULL,
    layout              TEXT COLLATE "C" NOT NULL,
    subject             TEXT COLLATE "C" NOT NULL,
    language            TEXT COLLATE "C",
    capacity            BIGINT NOT NULL,
    admin_pin           TEXT COLLATE "C",
    room_pin            TEXT COLLATE "C",
    enable_recording    BIGINT NOT NULL,
    enable_prompt       BIGINT NOT NULL,
    timezone            TEXT COLLATE "C",
    scheduled_start_at  BIGINT,
    scheduled_end_at    BIGINT,
    numbers             TEXT COLLATE "C",
    internal_invitees   TEXT COLLATE "C",
    external_invitees   TEXT COLLATE "C",
    outbound_caller_ids TEXT COLLATE "C",
    custom_options      TEXT COLLATE "C",
    token               TEXT COLLATE "C" NOT NULL,
    -- Policies for the present or the next call; cleared when the room empties.
    locked              BIGINT NOT NULL DEFAULT 0,
    muted               BIGINT NOT NULL DEFAULT 0,
    search_text         TEXT COLLATE "C" NOT NULL,
    created_at          BIGINT NOT NULL
);
CREATE INDEX rooms_by_creation ON rooms (created_at, id);
CREATE INDEX rooms_by_subject ON rooms (subject, id);

-- Which server a room lives on while it is active; the epoch grows with each claim, so that a late writer is known.
CREATE TABLE room_ownership (
    room_id    BIGINT NOT NULL PRIMARY KEY REFERENCES rooms (id) ON DELETE CASCADE,
    server_id  BIGINT REFERENCES servers (id) ON DELETE SET NULL,
    epoch      BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

-- Outlives its room: no reference to it.
CREATE TABLE recordings (
    id          BIGINT NOT NULL PRIMARY KEY,
    room_id     BIGINT NOT NULL,
    server_id   BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('RECORDING', 'FINISHED', 'RECOVERED', 'FAILED')),
    answered_at BIGINT NOT NULL,
    ended_at    BIGINT,
    duration_ms BIGINT,
    -- As people see it.
    file_name   TEXT COLLATE "C" NOT NULL,
    -- Below recordings.dir.
    path        TEXT COLLATE "C" NOT NULL,
    file_size   BIGINT,
    sha256      BYTEA,
    reason      TEXT COLLATE "C",
    is_read     BIGINT NOT NULL DEFAULT 0,
    part_of     BIGINT
);
CREATE INDEX recordings_by_room ON recordings (room_id, answered_at, id);
CREATE INDEX recordings_by_digest ON recordings (sha256);
CREATE INDEX recordings_by_state ON recordings (state, ended_at);

CREATE TABLE tokens (
    id         BIGINT NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    role       TEXT COLLATE "C" NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    -- SHA-256 of the token's text; the text itself is nowhere.
    digest     BYTEA    NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);

-- What this installation made up for itself: the key of signed URLs, that the first token was made.
CREATE TABLE installation (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
