-- Whether {step} is complete at its first attempt, of which `attempt` has no row.
{step}.state = {COMPLETE} and {step}.attempt = 1
