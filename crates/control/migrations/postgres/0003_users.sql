-- Who signs in with a password.
CREATE TABLE users (
    id            BIGINT NOT NULL PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL UNIQUE,
    role          TEXT COLLATE "C" NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    -- argon2id, as a PHC string.
    password_hash TEXT COLLATE "C" NOT NULL,
    -- Made on the command line, or kept in step with the configuration.
    source        TEXT COLLATE "C" NOT NULL CHECK (source IN ('CLI', 'CONFIG')),
    created_at    BIGINT NOT NULL,
    -- Of the role or the password.
    changed_at    BIGINT NOT NULL
);

-- API: long-lived, of nobody's session. ACCESS and REFRESH: of a session of a user; a REFRESH token that was used stays, with
-- its revoked_at, so that a second use is known for what it is.
ALTER TABLE tokens ADD COLUMN kind TEXT COLLATE "C" NOT NULL DEFAULT 'API' CHECK (kind IN ('API', 'ACCESS', 'REFRESH'));
ALTER TABLE tokens ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT 'CLI' CHECK (source IN ('CLI', 'CONFIG'));
ALTER TABLE tokens ADD COLUMN user_id BIGINT REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE tokens ADD COLUMN session_id BIGINT;
CREATE INDEX tokens_by_session ON tokens (session_id);
CREATE INDEX tokens_by_user ON tokens (user_id, session_id);
CREATE INDEX tokens_by_end ON tokens (expires_at);

-- What was changed on the command line, until the server has written it into its log.
CREATE TABLE command_notes (
    id      BIGINT NOT NULL PRIMARY KEY,
    at      BIGINT NOT NULL,
    who     TEXT COLLATE "C" NOT NULL,
    action  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL
);
