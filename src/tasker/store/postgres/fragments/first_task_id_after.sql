-- The lowest id of tasks created after {instant}, to the millisecond: what ended before it has a
-- lower one, and `task_template` leads there.
(lpad(to_hex((extract(epoch from {instant}) * 1000)::bigint + 1), 12, '0') || repeat('0', 20))::uuid
