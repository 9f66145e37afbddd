-- Templates that were paused in the last seconds. :seconds real, :now real
select namespace, name from pause
where kind = 'template' and paused_at > :now - :seconds
