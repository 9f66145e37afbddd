-- Steps of a task that wait for a signal, by number. :task_id uuid, :name text
select no, call, call_kind from wait
where task_id = :task_id::uuid and kind = 'signal' and name = :name
order by no
