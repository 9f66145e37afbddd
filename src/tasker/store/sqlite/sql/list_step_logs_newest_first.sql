-- Log records of a task, newest first. :task_id text, :no, :attempt int, :level int (the lowest),
-- :text text (part of the message), :since real, all or null;
-- :after_at real or null, :after_no, :after_attempt, :after_number int (the record that they follow); :limit int
{include logs_of_task beyond=< direction=desc}
