-- The policy of a namespace. :namespace text
select *
from namespace_policy
where namespace = :namespace
