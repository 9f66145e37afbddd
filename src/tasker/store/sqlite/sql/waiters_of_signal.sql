-- Steps of a task that wait for a signal, by number. :task_id text, :name text
select no, call, call_kind from wait
where task_id = :task_id and kind = 'signal' and name = :name
order by no
