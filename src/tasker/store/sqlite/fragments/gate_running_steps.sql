-- Steps in progress that were claimed through the gate {gate}.
(
    select count(*) from gate_claim gc
    where gc.gate_id = {gate}.id and exists (
        select 1 from step gs
        where gs.task_id = gc.task_id and gs.no = gc.no and gs.attempt = gc.attempt and gs.state = {IN_PROGRESS}
    )
)
