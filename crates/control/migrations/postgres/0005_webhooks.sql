-- Who is told about events by HTTP.
CREATE TABLE webhooks (
    id         BIGINT NOT NULL PRIMARY KEY,
    url        TEXT   COLLATE "C" NOT NULL,
    -- Signs what is sent, so it is kept as it is.
    secret     TEXT   COLLATE "C" NOT NULL,
    -- Kinds and prefixes of kinds with commas between them; empty: all that a webhook gets unless it says otherwise.
    types      TEXT   COLLATE "C" NOT NULL,
    enabled    BIGINT NOT NULL,
    source     TEXT   COLLATE "C" NOT NULL CHECK (source IN ('CONFIG', 'API')),
    created_at BIGINT NOT NULL
);

-- What a webhook has not accepted yet: it waits (PENDING), or was given up (DEAD). Accepted ones are not kept.
CREATE TABLE deliveries (
    cursor          BIGINT NOT NULL,
    webhook_id      BIGINT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    -- The event's room, or 0: deliveries of one lane go out one after the other.
    lane            BIGINT NOT NULL,
    state           TEXT   COLLATE "C" NOT NULL CHECK (state IN ('PENDING', 'DEAD')),
    attempts        BIGINT NOT NULL,
    queued_at       BIGINT NOT NULL,
    next_at         BIGINT NOT NULL,
    last_attempt_at BIGINT,
    last_status     BIGINT,
    last_error      TEXT   COLLATE "C",
    PRIMARY KEY (cursor, webhook_id)
);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, state, cursor);
