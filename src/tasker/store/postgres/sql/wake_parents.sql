-- See functions/wake_parents.sql.
select wake_parents(:ended::uuid[])
