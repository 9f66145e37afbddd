-- See functions/end_failed.sql. :tasks uuid[]
select id::text as id, state from end_failed(:tasks::uuid[])
