-- The tokens of the gate {gate} now; null if it has no rate. :now real
case when {gate}.rate is not null then
    min({gate}.burst, {gate}.tokens + {gate}.rate * max(:now - {gate}.refilled_at, 0))
end
