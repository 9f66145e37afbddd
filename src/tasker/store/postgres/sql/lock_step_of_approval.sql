-- Lock the step that an approval belongs to. :id uuid
select s.no from approval a join step s on s.task_id = a.task_id and s.no = a.no
where a.id = :id::uuid
for update of s
