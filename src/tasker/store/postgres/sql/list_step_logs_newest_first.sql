-- Log records of a task, newest first. :task_id uuid, :no, :attempt int, :level int (the lowest),
-- :text text (part of the message), :since timestamptz, all or null;
-- :after_at timestamptz or null, :after_no, :after_attempt, :after_number int (the record that they follow); :limit int
{include logs_of_task beyond=< direction=desc}
