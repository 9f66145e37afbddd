-- The lowest id of tasks created after {instant}, to the millisecond: what ended before it has a
-- lower one, and `task_template` leads there.
printf('%08x-%04x', (cast({instant} * 1000 as integer) + 1) >> 16, (cast({instant} * 1000 as integer) + 1) & 65535)
