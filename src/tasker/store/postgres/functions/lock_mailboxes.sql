-- Lock mailboxes until the transaction ends: those of signals and broadcasts, each given as one text.
-- Senders to a mailbox, and steps that begin to wait for it, lock it first, so neither misses the
-- other.
create or replace function lock_mailboxes(p_mailboxes text[]) returns setof text language plpgsql as $$
declare
    v_mailbox int;
begin
    for v_mailbox in select distinct hashtext(m) from unnest(p_mailboxes) as m order by 1 loop
        perform pg_advisory_xact_lock(hashtext('tasker.mailbox'), v_mailbox);
    end loop;
end $$;
