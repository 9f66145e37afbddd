-- Approved versions of a template. :namespace text, :name text
select version from template
where namespace = :namespace and name = :name and replaced_at is null and status = 'approved'
