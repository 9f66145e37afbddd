-- See functions/end_failed_tasks.sql. :tasks uuid[]
select id::text as id, state from end_failed_tasks(:tasks::uuid[])
