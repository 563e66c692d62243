-- Runs ask: questions and their answers, what answers granted for longer than once, and what
-- wakes a session after a run that waits.

CREATE TABLE question (
  no INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  session INTEGER NOT NULL REFERENCES session (no),
  run INTEGER NOT NULL REFERENCES run (no),
  -- What is asked, as JSON.
  body TEXT NOT NULL,
  -- The first answer as JSON, or 'null' if the run ended before there was one; NULL while the
  -- question is open.
  answer TEXT
);
CREATE INDEX question_open ON question (session) WHERE answer IS NULL;
CREATE INDEX question_run ON question (run);

CREATE TABLE granted (
  id BLOB PRIMARY KEY,
  workspace INTEGER NOT NULL REFERENCES workspace (no),
  -- The session in which alone it stands; NULL if in all.
  session INTEGER REFERENCES session (no),
  agent TEXT NOT NULL,
  rule TEXT NOT NULL,
  granted_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX granted_workspace ON granted (workspace, agent);
CREATE INDEX granted_session ON granted (session) WHERE session IS NOT NULL;

-- Runs that ended waiting, and what for: a time, an answer, or whichever comes first.
CREATE TABLE wake (
  run INTEGER PRIMARY KEY REFERENCES run (no),
  due_ms INTEGER,
  question INTEGER REFERENCES question (no)
);
CREATE INDEX wake_due ON wake (due_ms) WHERE due_ms IS NOT NULL;
