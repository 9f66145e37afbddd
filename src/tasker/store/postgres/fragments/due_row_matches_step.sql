-- Whether {entry}, a row of `due`, is that of the enqueued step {step}.
{entry}.queue_id = {step}.queue_id and {entry}.run_at = {step}.run_at
and {entry}.task_id = {step}.task_id and {entry}.no = {step}.no and {step}.state = {ENQUEUED}
