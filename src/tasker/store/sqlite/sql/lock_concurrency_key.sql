-- Nothing: a writing transaction is alone. :namespace, :key text
select :namespace, :key
