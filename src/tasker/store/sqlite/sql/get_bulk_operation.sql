-- A bulk operation. :id text
select {include bulk_operation_columns}
from bulk_operation
where id = :id
