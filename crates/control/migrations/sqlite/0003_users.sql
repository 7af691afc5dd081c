-- Who signs in with a password.
CREATE TABLE users (
    id            INTEGER NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL UNIQUE,
    role          TEXT    NOT NULL CHECK (role IN ('admin', 'operator', 'viewer')),
    -- argon2id, as a PHC string.
    password_hash TEXT    NOT NULL,
    -- Made on the command line, or kept in step with the configuration.
    source        TEXT    NOT NULL CHECK (source IN ('CLI', 'CONFIG')),
    created_at    INTEGER NOT NULL,
    -- Of the role or the password.
    changed_at    INTEGER NOT NULL
);

-- API: long-lived, of nobody's session. ACCESS and REFRESH: of a session of a user; a REFRESH token that was used stays, with
-- its revoked_at, so that a second use is known for what it is.
ALTER TABLE tokens ADD COLUMN kind TEXT NOT NULL DEFAULT 'API' CHECK (kind IN ('API', 'ACCESS', 'REFRESH'));
ALTER TABLE tokens ADD COLUMN source TEXT NOT NULL DEFAULT 'CLI' CHECK (source IN ('CLI', 'CONFIG'));
ALTER TABLE tokens ADD COLUMN user_id INTEGER REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE tokens ADD COLUMN session_id INTEGER;
CREATE INDEX tokens_by_session ON tokens (session_id);
CREATE INDEX tokens_by_user ON tokens (user_id, session_id);
CREATE INDEX tokens_by_end ON tokens (expires_at);

-- What was changed on the command line, until the server has written it into its log.
CREATE TABLE command_notes (
    id      INTEGER NOT NULL PRIMARY KEY,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    subject TEXT    NOT NULL
);
