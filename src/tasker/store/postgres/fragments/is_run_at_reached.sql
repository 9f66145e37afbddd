-- Whether {run_at}, at which an enqueued step becomes due, is reached. Every statement that claims
-- includes this.
{run_at} <= now()
