-- Record the use of a login, at most once a minute. :digest text, :now real
update session set seen_at = :now
where digest = :digest and seen_at < :now - 60
