-- Make the queues that are missing. :namespace text, :handlers text[]
insert into queue (namespace, handler)
select :namespace::text, handler from unnest(:handlers::text[]) as g (handler)
on conflict (namespace, handler) do nothing
