-- The step that a token completes. :digest text
select s.no from completion c join step s on s.task_id = c.task_id and s.no = c.no
where c.digest = :digest
