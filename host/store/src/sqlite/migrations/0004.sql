-- A run that ended early is gone on with once, and every request that begins a run takes a key.

-- The id of the run that this one goes on with after that had ended early.
ALTER TABLE run ADD COLUMN resumes BLOB;
CREATE UNIQUE INDEX run_resumes ON run (resumes) WHERE resumes IS NOT NULL;

-- Idempotency keys of requests that were answered with a run which was there already, or with a
-- fork, whose run is another session's.
CREATE TABLE later_key (
  session INTEGER NOT NULL REFERENCES session (no),
  key TEXT NOT NULL,
  content BLOB NOT NULL,
  run INTEGER NOT NULL REFERENCES run (no),
  PRIMARY KEY (session, key)
) WITHOUT ROWID;
CREATE INDEX later_key_run ON later_key (run);

-- The id of the run on whose behalf another run began this one.
ALTER TABLE run ADD COLUMN parent BLOB;

-- Where a message of a run that never started is shown: behind the message of this place.
ALTER TABLE message ADD COLUMN beside INTEGER;
UPDATE message SET beside = (
    SELECT coalesce(max(earlier.ordinal), 0) FROM message earlier
    WHERE earlier.session = message.session AND earlier.no < message.no)
  WHERE ordinal IS NULL AND run IN (
    SELECT no FROM run WHERE started_ms IS NULL AND ended_ms IS NOT NULL);
CREATE INDEX message_beside ON message (session, beside) WHERE beside IS NOT NULL;

-- A deletion that was under way begins again, so that it is told.
UPDATE session SET going = 1 WHERE going = 2;
-- Runs of sessions that were deleted, so that their followers learn it.
CREATE TABLE gone_run (
  id BLOB PRIMARY KEY,
  session INTEGER NOT NULL REFERENCES session (no)
) WITHOUT ROWID;
CREATE INDEX gone_run_session ON gone_run (session);
CREATE TRIGGER run_gone AFTER DELETE ON run BEGIN
  INSERT OR IGNORE INTO gone_run (id, session) VALUES (OLD.id, OLD.session);
END;

-- Databases have a number, by which what is kept beside them is known to be of this one.
ALTER TABLE owner ADD COLUMN id BLOB;
UPDATE owner SET id = randomblob(16);

-- Keys of workspaces are kept by their bytes. Until now each byte that is no UTF-8 became U+FFFD,
-- so that such a key may stand for several directories: it is that of none from now on. What was
-- said there can be read; a directory that does have U+FFFD in its name gets a new workspace.
UPDATE workspace SET key = 'lossy:' || substr(key, 5)
  WHERE substr(key, 1, 4) = 'dir:' AND instr(key, char(0xFFFD)) > 0;

-- All limits are kept, and not the deadline alone.
UPDATE workspace SET options = CASE json_type(options, '$.deadline_ms')
    WHEN 'integer' THEN json_set(json_remove(options, '$.deadline_ms'), '$.limits', json_object(
      'deadline_us', min(json_extract(options, '$.deadline_ms'), 9000000000000000) * 1000))
    ELSE json_remove(options, '$.deadline_ms') END
  WHERE json_valid(options);
-- What the run that a time begins takes over of the limits of those before it, as JSON.
ALTER TABLE wake ADD COLUMN carried TEXT;
