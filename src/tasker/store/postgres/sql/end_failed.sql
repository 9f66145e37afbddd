-- End tasks with a failed step in which nothing can run. :tasks uuid[]
select e::text from end_failed(:tasks::uuid[]) as e
