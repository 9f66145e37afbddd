-- Limits that operators set in a namespace. :namespace text
select namespace, pattern, concurrency, rate, burst, updated_by, updated_at from limit_setting
where namespace = :namespace
order by pattern
