-- Bulk operations, newest first. :after text or null, :limit int
select {include bulk_operation_columns}
from bulk_operation
where true
  and (:after is null or id < :after)
order by id desc
limit :limit
