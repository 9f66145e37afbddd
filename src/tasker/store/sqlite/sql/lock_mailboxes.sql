-- Nothing: a writing transaction is alone. :mailboxes text (JSON list)
select value as id from json_each(:mailboxes) where false
