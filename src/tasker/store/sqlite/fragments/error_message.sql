-- The message of a step's error, or its type, at most 300 characters.
substr(coalesce(nullif(json_extract({step}.error, '$.message'), ''), json_extract({step}.error, '$.type'), 'unknown error'), 1, 300)
