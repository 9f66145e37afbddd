-- Forget the claims of limited steps of tasks. :ids text (JSON list)
delete from gate_claim where task_id in (select value from json_each(:ids))
