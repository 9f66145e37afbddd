-- Templates that were paused in the last seconds. :seconds float8
select namespace, name from pause
where kind = 'template' and paused_at > now() - :seconds::float8 * interval '1 s'
