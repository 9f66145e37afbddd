-- Log records of a task in the direction {direction}, those {beyond} a given one.
select l.task_id::text as task_id, l.no, s.name as step, {include instance_path step=s} as instances, l.attempt, l.number, l.at, l.level, l.source, l.message, l.fields
from step_log l
left join step s on s.task_id = l.task_id and s.no = l.no
where l.task_id = :task_id::uuid
  and (:no::int is null or l.no = :no::int)
  and (:attempt::int is null or l.attempt = :attempt::int)
  and (:level::int is null or l.level >= :level::int)
  and (:text::text is null or position(lower(:text::text) in lower(l.message)) > 0)
  and (:since::timestamptz is null or l.at >= :since::timestamptz)
  and (:after_at::timestamptz is null or (l.at, l.no, l.attempt, l.number) {beyond} (:after_at::timestamptz, :after_no::int, :after_attempt::int, :after_number::int))
order by l.at {direction}, l.no {direction}, l.attempt {direction}, l.number {direction}
limit :limit::int
