-- Delete the pauses of tasks. :ids text (JSON list)
delete from pause where kind = 'task' and name in (select value from json_each(:ids))
