-- End has_failed_step tasks of which nothing can run. :tasks uuid[]
select e::text from end_failed(:tasks::uuid[]) as e
