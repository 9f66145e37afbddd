-- Delete tasks. :ids text (JSON list)
delete from task where id in (select value from json_each(:ids))
