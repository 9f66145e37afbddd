-- Delete the claims of a gate whose attempts have ended. :gate int
delete from gate_claim
where gate_id = :gate and not exists (
    select 1 from step s
    where s.task_id = gate_claim.task_id and s.no = gate_claim.no and s.attempt = gate_claim.attempt
      and s.state = {IN_PROGRESS}
)
