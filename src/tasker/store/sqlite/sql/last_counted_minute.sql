-- The last minute whose created tasks are counted, or null.
select max(minute) as minute from figure where template_id = 0
