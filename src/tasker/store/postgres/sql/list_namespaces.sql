-- Namespaces that have a policy or a template, and `default`, with counts of template versions.
with known as (
    select 'default' as namespace
    union select namespace from namespace_policy
    union select namespace from template where replaced_at is null
), counted as (
    select namespace,
           count(distinct case when status = 'approved' then name end) as templates,
           sum(case when status = 'approved' then 1 else 0 end) as approved,
           sum(case when status = 'pending_review' then 1 else 0 end) as pending_review,
           sum(case when status = 'rejected' then 1 else 0 end) as rejected,
           sum(case when status = 'retired' then 1 else 0 end) as retired
    from template
    where replaced_at is null
    group by namespace
)
select k.namespace, coalesce(c.templates, 0) as templates, coalesce(c.approved, 0) as approved, coalesce(c.pending_review, 0) as pending_review,
       coalesce(c.rejected, 0) as rejected, coalesce(c.retired, 0) as retired, p.owner_team, p.contact_email,
       p.description, p.requires_approval, p.approvers, p.http_hosts, p.updated_by, p.updated_at
from known k
left join counted c on c.namespace = k.namespace
left join namespace_policy p on p.namespace = k.namespace
order by k.namespace collate "C"
