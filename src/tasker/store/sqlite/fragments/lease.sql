-- What a claim sets of the steps that it leases to {worker}.
set state = {IN_PROGRESS}, worker = {worker}, attempt = attempt + 1, claimed_at = :now,
    enqueued_at = max(enqueued_at, run_at)   -- of a retry: when it was due
