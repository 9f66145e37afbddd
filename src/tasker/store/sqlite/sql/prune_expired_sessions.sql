-- Delete the logins that have expired. :now real
delete from session where expires_at <= :now
