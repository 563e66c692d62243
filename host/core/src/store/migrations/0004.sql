-- What the run that a time begins takes over of the limits of those before it, as JSON.
ALTER TABLE wake ADD COLUMN carried TEXT;
