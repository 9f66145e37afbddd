-- A bulk operation. :id uuid
select {include bulk_operation_columns}
from bulk_operation
where id = :id::uuid
