-- Mark events as distributed. :events bigint[]
update outbox set distributed = true where id = any (:events)
