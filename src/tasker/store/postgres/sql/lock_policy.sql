-- The policy of a namespace, locked. :namespace text
select namespace, owner_team, contact_email, description, requires_approval, approvers, updated_by, updated_at
from namespace_policy
where namespace = :namespace
for update
