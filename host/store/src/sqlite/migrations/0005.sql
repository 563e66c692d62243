-- Idempotency keys of requests that create a session: unique per workspace, and gone with the session.
CREATE TABLE session_key (
  workspace INTEGER NOT NULL REFERENCES workspace (no),
  key TEXT NOT NULL,
  content BLOB NOT NULL,
  session INTEGER NOT NULL REFERENCES session (no),
  PRIMARY KEY (workspace, key)
) WITHOUT ROWID;
CREATE INDEX session_key_session ON session_key (session);
