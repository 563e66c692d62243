-- The log and what is materialised from it. Integers named `no` are local to this file;
-- ids are the 16 bytes of a UUID; times are milliseconds since 1970 and order nothing.

-- Who writes here. Every transaction checks the epoch.
CREATE TABLE owner (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  epoch INTEGER NOT NULL
);
INSERT INTO owner (one, epoch) VALUES (1, 0);

CREATE TABLE workspace (
  no INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  key TEXT NOT NULL UNIQUE,
  created_ms INTEGER NOT NULL
);

CREATE TABLE session (
  no INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  workspace INTEGER NOT NULL REFERENCES workspace (no),
  agent TEXT NOT NULL,
  title TEXT,
  -- A summary, and the ordinal through which it stands for the history.
  summary_message INTEGER,
  summary_through INTEGER,
  input_tokens INTEGER NOT NULL DEFAULT 0,
  output_tokens INTEGER NOT NULL DEFAULT 0,
  created_ms INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL
);
CREATE INDEX session_workspace ON session (workspace);

CREATE TABLE run (
  no INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  session INTEGER NOT NULL REFERENCES session (no),
  state TEXT NOT NULL,
  -- The epoch of the owner that accepted or started it last.
  epoch INTEGER NOT NULL,
  -- What the caller asked for, as JSON: origin, parts, config, deadline.
  prompt TEXT NOT NULL,
  -- The user's message, if the origin makes one.
  message INTEGER,
  digest TEXT NOT NULL,
  -- The idempotency key, and the digest of what came with it.
  key TEXT,
  content BLOB,
  -- The latched cause as JSON, once the run is finishing.
  cause TEXT,
  accepted_ms INTEGER NOT NULL,
  started_ms INTEGER,
  ended_ms INTEGER
);
CREATE UNIQUE INDEX run_key ON run (session, key) WHERE key IS NOT NULL;
-- Without an end: what waits, what runs, and what recovery has to look at.
CREATE INDEX run_open ON run (session)
  WHERE state IN ('queued', 'held', 'running', 'finishing');
CREATE INDEX run_session ON run (session);

-- The database's own word that a run ends once.
CREATE TABLE run_terminal (
  run INTEGER PRIMARY KEY REFERENCES run (no),
  receipt TEXT NOT NULL
);

CREATE TABLE message (
  no INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  session INTEGER NOT NULL REFERENCES session (no),
  run INTEGER NOT NULL REFERENCES run (no),
  -- The place in the history, from 1; NULL while the run is queued or if it never started.
  ordinal INTEGER,
  role TEXT NOT NULL,
  -- A JSON array.
  parts TEXT NOT NULL,
  model TEXT,
  provider TEXT,
  finish TEXT,
  created_ms INTEGER NOT NULL,
  finished_ms INTEGER,
  extra TEXT
);
CREATE UNIQUE INDEX message_place ON message (session, ordinal) WHERE ordinal IS NOT NULL;
CREATE INDEX message_run ON message (run) WHERE ordinal IS NULL;

CREATE TABLE event (
  pos INTEGER PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES session (no),
  seq INTEGER NOT NULL,
  run INTEGER,
  at_ms INTEGER NOT NULL,
  -- The body as a JSON object with its `type`.
  body TEXT NOT NULL
);
CREATE UNIQUE INDEX event_seq ON event (session, seq);

CREATE TABLE blob (
  id TEXT PRIMARY KEY,
  bytes BLOB NOT NULL
) WITHOUT ROWID;

-- What agents keep: scope 1 is a session, 2 a workspace.
CREATE TABLE state (
  scope INTEGER NOT NULL,
  owner INTEGER NOT NULL,
  agent TEXT NOT NULL,
  key TEXT NOT NULL,
  value BLOB NOT NULL,
  PRIMARY KEY (scope, owner, agent, key)
) WITHOUT ROWID;
