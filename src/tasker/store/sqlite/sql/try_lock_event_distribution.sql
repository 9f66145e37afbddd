-- Let one process at a time distribute events: a writing transaction is alone.
select 1 as locked
