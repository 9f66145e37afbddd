-- The number of the first step that undoes another one, once they are reserved. :task_id uuid, :no int
select first_no from spawn where task_id = :task_id::uuid and no = :no and key = ''
