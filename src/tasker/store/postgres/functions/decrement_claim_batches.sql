-- Record that attempts have ended, each identified by its worker and the time of its claim.
-- Settlements lock claims last, in the order of (worker, claimed_at); operators' transactions,
-- which yield, may not.
create or replace function decrement_claim_batches(p_worker bigint[], p_claimed_at timestamptz[]) returns void language plpgsql
as $$
declare
    v_ended record;
    v_open int;
begin
    for v_ended in
        select e.worker, e.claimed_at, count(*)::int as attempts
        from unnest(p_worker, p_claimed_at) as e (worker, claimed_at)
        where e.worker is not null
        group by e.worker, e.claimed_at
        order by e.worker, e.claimed_at
    loop
        delete from claim_batch b
        where b.worker = v_ended.worker and b.claimed_at = v_ended.claimed_at and b.open = v_ended.attempts;
        continue when found;
        update claim_batch b set open = b.open - v_ended.attempts
        where b.worker = v_ended.worker and b.claimed_at = v_ended.claimed_at
        returning b.open into v_open;
        if v_open = 0 then   -- others ended the rest meanwhile
            delete from claim_batch b where b.worker = v_ended.worker and b.claimed_at = v_ended.claimed_at;
        end if;
    end loop;
end $$;
