-- Record the steps {tasks}, {nos} as claimed for p_worker at {at}. The worker may have claimed
-- others in the same microsecond.
insert into claim_batch as b (worker, claimed_at, open, tasks, nos)
values (p_worker, {at}, cardinality({tasks}), {tasks}, {nos})
{include on_conflict_merge_claim_batch}
