-- The failed steps for which no child waits: all children that the failure reached have started.
-- :task_id text, :nos text (JSON list)
select s.no from step s
where s.task_id = :task_id and s.no in (select value from json_each(:nos))
  and not exists (
    select 1 from step c
    where c.task_id = :task_id and c.no in (select value from json_each(s.on_error)) and +c.state in ({PENDING}, {CANCELLED})
)
order by s.no
