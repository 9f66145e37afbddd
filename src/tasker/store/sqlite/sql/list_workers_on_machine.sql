-- Workers of a machine whose lease holds. :machine text, :now real
select id, name, pid, pid_started from worker where machine = :machine and lease_until > :now
