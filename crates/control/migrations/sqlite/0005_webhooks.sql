-- Who is told about events by HTTP.
CREATE TABLE webhooks (
    id         INTEGER NOT NULL PRIMARY KEY,
    url        TEXT    NOT NULL,
    -- Signs what is sent, so it is kept as it is.
    secret     TEXT    NOT NULL,
    -- Kinds and prefixes of kinds with commas between them; empty: all that a webhook gets unless it says otherwise.
    types      TEXT    NOT NULL,
    enabled    INTEGER NOT NULL,
    source     TEXT    NOT NULL CHECK (source IN ('CONFIG', 'API')),
    created_at INTEGER NOT NULL
);

-- What a webhook has not accepted yet: it waits (PENDING), or was given up (DEAD). Accepted ones are not kept.
CREATE TABLE deliveries (
    cursor          INTEGER NOT NULL,
    webhook_id      INTEGER NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    -- The event's room, or 0: deliveries of one lane go out one after the other.
    lane            INTEGER NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('PENDING', 'DEAD')),
    attempts        INTEGER NOT NULL,
    queued_at       INTEGER NOT NULL,
    next_at         INTEGER NOT NULL,
    last_attempt_at INTEGER,
    last_status     INTEGER,
    last_error      TEXT,
    PRIMARY KEY (cursor, webhook_id)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, state, cursor);
