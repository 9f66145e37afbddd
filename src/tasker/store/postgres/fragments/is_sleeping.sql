-- Whether the step {step} sleeps: its last attempt was parked, and ended without an error.
{step}.state = {ENQUEUED} and {step}.attempt > 0 and {step}.error is null and {step}.run_at > now()
