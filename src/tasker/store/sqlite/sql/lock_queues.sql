-- Let no one else add queues: a writing transaction is alone.
select 1
