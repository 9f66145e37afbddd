-- The rows of locked steps, each looked up by its task and its number in :steps.
(select (value ->> 0)::uuid as task_id, (value ->> 1)::int as no from json_array_elements(:steps::text::json)) n
cross join lateral (select s.*, s.ctid from step s where s.task_id = n.task_id and s.no = n.no offset 0) s
