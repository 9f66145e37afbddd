-- Whether the failure of {step} is why its task {task} ends in error; in a cancelled task, only a
-- compensating step's failure is.
case when {step}.undoes is not null then {task}.ending = {CANCELLED}
     else {task}.ending is not {CANCELLED} and {include is_failure_unhandled} end
