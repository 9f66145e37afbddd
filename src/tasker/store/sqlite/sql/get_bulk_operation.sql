-- An operation on many tasks. :id text
select {include bulk_operation_columns}
from bulk_operation
where id = :id
