-- Mark tasks with a step that failed permanently, unless its failure reached all of its children.
update task set has_failed_step = 1
where state = {OPEN} and id in (select task_id from temp.settled g where g.outcome = {OUTCOME.ERROR} and {include is_failure_unhandled step=g})
