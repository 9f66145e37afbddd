-- Take tokens from a gate that has a rate. :gate int, :taken int, :now real
update gate set tokens = {include gate_tokens gate=gate} - :taken, refilled_at = :now
where id = :gate and rate is not null
