-- Log records of a task in the direction {direction}, those {beyond} a given one.
select l.task_id, l.no, s.name as step, {include instance_path step=s} as instances, l.attempt, l.number, l.at, l.level, l.source, l.message, l.fields
from step_log l
left join step s on s.task_id = l.task_id and s.no = l.no
where l.task_id = :task_id
  and (:no is null or l.no = :no)
  and (:attempt is null or l.attempt = :attempt)
  and (:level is null or l.level >= :level)
  and (:text is null or instr(lower(l.message), lower(:text)) > 0)
  and (:since is null or l.at >= :since)
  and (:after_at is null or (l.at, l.no, l.attempt, l.number) {beyond} (:after_at, :after_no, :after_attempt, :after_number))
order by l.at {direction}, l.no {direction}, l.attempt {direction}, l.number {direction}
limit :limit
