-- The conflict clause of an insert into claim_batch: add the claims to those, `b`, that their worker made in the
-- same microsecond.
on conflict (worker, claimed_at) do update
set open = b.open + excluded.open, tasks = b.tasks || excluded.tasks, nos = b.nos || excluded.nos
