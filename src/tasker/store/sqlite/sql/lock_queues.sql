-- Nothing: a writing transaction is alone, so no other one adds queues.
select 1
