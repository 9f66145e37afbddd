-- Store the digest of a token that completes a step. :digest text, :task_id uuid, :no int
insert into completion (digest, task_id, no) values (:digest, :task_id::uuid, :no)
