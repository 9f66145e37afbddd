-- Lower the pending_parents of cancelled children, which may run after all: see revive_cancelled_steps.sql.
update step
set pending_parents = step.pending_parents - c.parents
from temp.child c
where c.no > 0 and step.task_id = c.task_id and step.no = c.no and +step.state = {CANCELLED}
