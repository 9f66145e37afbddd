-- Delete tasks that ended before the `retention` of their template, or before an instant where it
-- has none, with all their rows. :ended_before timestamptz or null (those are kept), :limit int
with template_kept as materialized (
    select p.id, {include retention_cutoff template=p} as until from template p
), doomed as (
    select t.id
    from template_kept p
    cross join lateral (
        select id from task
        where template_id = p.id and id < {include first_task_id_after instant=p.until}
          and state <> {OPEN} and ended_at < p.until
          and not exists (select from paged_action g where g.task_id = task.id)
        order by id
        limit :limit::int
        for update skip locked
    ) t
    limit :limit::int
), keys as (
    delete from task_key using doomed where task_id = doomed.id
), attributes as (
    delete from task_attribute using doomed where task_id = doomed.id
), pauses as (
    delete from pause using doomed where pause.name = doomed.id::text and pause.kind = 'task'
), audits as (
    delete from audit using doomed where task_id = doomed.id
), calls as (
    delete from durable_call using doomed where task_id = doomed.id
), waits as (
    delete from wait using doomed where task_id = doomed.id
), completions as (
    delete from completion using doomed where task_id = doomed.id
), approvals as (
    delete from approval using doomed where task_id = doomed.id
), signals as (
    delete from signal using doomed where task_id = doomed.id
), attempts as (
    delete from attempt using doomed where task_id = doomed.id
), logs as (
    delete from step_log using doomed where task_id = doomed.id
), spawns as (
    delete from spawn using doomed where task_id = doomed.id
), steps as (
    delete from step using doomed where task_id = doomed.id
    returning task_id, no, gate_id, outer_gate_id
), gate_claims as (
    delete from gate_claim c using steps s
    where s.gate_id is not null and c.gate_id = any (array[s.gate_id, s.outer_gate_id])
      and c.task_id = s.task_id and c.no = s.no
), body_gates as (
    delete from body_gate using doomed where task_id = doomed.id
), places as (
    delete from task_place using doomed where task_id = doomed.id
), gates as (
    delete from gate using doomed where gate.task_id = doomed.id
), tasks as (
    delete from task using doomed where task.id = doomed.id returning task.id
)
select count(*)::int as tasks from tasks
