-- A signal with an id. :task_id text, :name, :id text
select number, taken_by from signal where task_id = :task_id and name = :name and id = :id
