-- Whether the failure of {step} is why its task {task} ends in error: of a cancelled one, that of a step that undoes.
case when {step}.undoes is not null then {task}.ending = {CANCELLED}
     else {task}.ending is not {CANCELLED} and {include is_failure_unhandled} end
