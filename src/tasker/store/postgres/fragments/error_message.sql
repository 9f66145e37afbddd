-- The message of a step's error, or its type, at most 300 characters.
left(coalesce(nullif({step}.error ->> 'message', ''), {step}.error ->> 'type', 'unknown error'), 300)
