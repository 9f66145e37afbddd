-- Enqueue a step whose wait has ended; no row if it no longer waits. :task_id uuid, :no int
with woken as (
    update step
    set state = {ENQUEUED}, run_at = now(), enqueued_at = now()
    where task_id = :task_id::uuid and no = :no and state = {WAITING} and waits_for is null
    returning *
), entries as (
    {include insert_due_rows steps=woken}
)
select name, {include instance_path step=woken} as instances from woken
