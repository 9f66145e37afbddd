-- The columns that a claim by {worker} sets.
set state = {IN_PROGRESS}, worker = {worker}, attempt = attempt + 1, claimed_at = :now,
    enqueued_at = max(enqueued_at, run_at)   -- of a retry: when it was due
