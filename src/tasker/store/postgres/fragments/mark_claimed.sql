-- Mark the steps in v_steps as claimed by {worker} at v_now: the end of a claim.
update step s
set state = {IN_PROGRESS}, worker = {worker}, attempt = s.attempt + 1, claimed_at = v_now,
    enqueued_at = greatest(s.enqueued_at, s.run_at)   -- of a retry: when it was due
from unnest(v_steps, v_owner) as c (step, owner)
where s.ctid = c.step
returning s.task_id, s.no, s.attempt, s.attempt - s.uncounted_attempts,
          s.checkpoint::text,
          {include queued_and_parked_seconds step=s},
          c.owner::float8
