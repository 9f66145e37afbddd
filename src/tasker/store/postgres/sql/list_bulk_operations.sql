-- Bulk operations, newest first. :after uuid or null, :limit int
select {include bulk_operation_columns}
from bulk_operation
where true
  and (:after::uuid is null or id < :after)
order by id desc
limit :limit::int
