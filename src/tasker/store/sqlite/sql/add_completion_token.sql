-- Store the digest of a token that completes a step. :digest text, :task_id text, :no int
insert into completion (digest, task_id, no) values (:digest, :task_id, :no)
