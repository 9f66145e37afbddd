-- The tokens of the gate {gate} now; null if it has no rate.
case when {gate}.rate is not null then least(
    {gate}.burst,
    {gate}.tokens + {gate}.rate * greatest(extract(epoch from clock_timestamp() - {gate}.refilled_at), 0)
) end
