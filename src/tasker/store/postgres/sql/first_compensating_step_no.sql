-- The number of the first compensating step; no row before the numbers are reserved. :task_id uuid, :no int
select first_no from spawn where task_id = :task_id::uuid and no = :no and key = ''
