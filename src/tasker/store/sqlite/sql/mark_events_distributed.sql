-- Mark events as distributed. :events text (JSON list)
update outbox set distributed = 1 where id in (select value from json_each(:events))
