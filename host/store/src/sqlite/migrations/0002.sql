-- Sessions have a life beside their runs: parents, plans, costs, forks, an end; logs may
-- begin later than at 1, and agents outlive the process that they were handed to.

-- The session that began this one.
ALTER TABLE session ADD COLUMN parent INTEGER REFERENCES session (no);
-- The plan, as a JSON array.
ALTER TABLE session ADD COLUMN todo TEXT;
-- Where the history was copied from, as JSON.
ALTER TABLE session ADD COLUMN forked_from TEXT;
-- Millionths of a US dollar.
ALTER TABLE session ADD COLUMN cost_micros INTEGER NOT NULL DEFAULT 0;
-- Events up to and including this number were folded away.
ALTER TABLE session ADD COLUMN log_from INTEGER NOT NULL DEFAULT 0;
-- 1 once it is to be deleted and takes no more prompts, 2 while its rows are going.
ALTER TABLE session ADD COLUMN going INTEGER NOT NULL DEFAULT 0;
CREATE INDEX session_parent ON session (parent) WHERE parent IS NOT NULL;
CREATE INDEX session_going ON session (going) WHERE going > 0;

-- The highest position that was folded away.
ALTER TABLE workspace ADD COLUMN log_from INTEGER NOT NULL DEFAULT 0;
-- What it was last opened with, as JSON: a host that starts again opens it so for the
-- prompts that wait in it.
ALTER TABLE workspace ADD COLUMN options TEXT;

-- The highest numbers ever given whose rows are gone: none is given twice.
ALTER TABLE owner ADD COLUMN last_pos INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owner ADD COLUMN last_session INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owner ADD COLUMN last_workspace INTEGER NOT NULL DEFAULT 0;

-- Which sessions hold which bytes: who may read them, and when nobody does any more.
CREATE TABLE blob_use (
  session INTEGER NOT NULL REFERENCES session (no),
  blob TEXT NOT NULL REFERENCES blob (id),
  PRIMARY KEY (session, blob)
) WITHOUT ROWID;
CREATE INDEX blob_users ON blob_use (blob);
INSERT OR IGNORE INTO blob_use (session, blob)
  SELECT message.session, blob.id FROM message, json_tree(iif(json_valid(message.parts), message.parts, '[]')) part
  JOIN blob ON blob.id = part.value
  WHERE part.key = 'blob' AND part.type = 'text';
-- What a run without an end has said is not in its messages yet.
INSERT OR IGNORE INTO blob_use (session, blob)
  SELECT event.session, blob.id FROM run
  JOIN event ON event.session = run.session AND event.run = run.no
  JOIN json_tree(iif(json_valid(event.body), event.body, '{}')) part JOIN blob ON blob.id = part.value
  WHERE run.state IN ('queued', 'held', 'running', 'finishing')
    AND part.key = 'blob' AND part.type = 'text';

-- Components that were handed over as bytes.
CREATE TABLE agent (
  name TEXT PRIMARY KEY,
  digest TEXT NOT NULL,
  wasm BLOB NOT NULL,
  loaded_ms INTEGER NOT NULL
);
