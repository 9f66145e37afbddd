-- Make the queues that are missing. :namespace text, :handlers text (JSON list)
insert into queue (namespace, handler)
select :namespace, value from json_each(:handlers) where true
on conflict (namespace, handler) do nothing
