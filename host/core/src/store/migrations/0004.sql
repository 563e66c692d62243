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
