-- Databases have a number, by which what is kept beside them is known to be of this one.
ALTER TABLE owner ADD COLUMN id BLOB;
UPDATE owner SET id = randomblob(16);
