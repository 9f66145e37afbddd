-- Delete the logins that have expired.
delete from session where expires_at <= now()
