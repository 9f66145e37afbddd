-- Queues from which nothing is claimed.
{include paused_queues}
