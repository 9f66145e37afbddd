"""Bounds of what users can make grow. `docs/limits.md` lists each with its error code."""

EXPRESSION_CHARACTERS = 1_000  #: of one expression
EXPRESSION_NODES = 200  #: operators, paths and literals of one expression
EXPRESSION_DEPTH = 20  #: nested parentheses, lists and operators of one expression
TEXT_CHARACTERS = 1_000  #: of one text with placeholders
TEXT_PLACEHOLDERS = 20  #: of one text with placeholders
INSTANCES = 100_000  #: of one step
NESTING = 5  #: bodies within each other
ITERATIONS = 10_000  #: of one `repeat`
COLLECTED = 1_000  #: results of instances in one list
COLLECTED_BYTES = 1 << 20  #: of those results
DURABLE_CALLS = 1_000  #: recorded for one step
DURABLE_CALL_BYTES = 1 << 20  #: of the values recorded for one step
DURABLE_CALL_NAME = 200  #: characters of the name of a durable call
WAIT = 3_653 * 86_400  #: seconds of a sleep, or until the timeout of a wait: ten years
UNTAKEN_SIGNALS = 1_000  #: of a task, kept until a step waits for them
BROADCASTS = 1_000  #: of one name and key in a namespace, kept for a week
ARRIVAL_BYTES = 1 << 16  #: of the payload of a signal or broadcast
ARRIVAL_NAME = 200  #: characters of the name, key or id of a signal or broadcast
AWAITED = 20  #: signals and broadcasts in one wait
LIMIT_KEY_BYTES = 200  #: of the key of a limit, or a pattern of keys
LIMIT_CONCURRENCY = 1_000_000  #: steps in progress under one limit; also its burst
SCHEDULES = 1_000  #: of one namespace
SCHEDULES_OF_TEMPLATE = 20  #: declared by one template
SCHEDULE_CONTEXT_BYTES = 64 << 10  #: of the context of one schedule
TICKS_BUFFERED = 1_000  #: of one schedule, that wait for the end of a task
TICKS_RECORDED = 1_000  #: records of ticks without a task that a schedule keeps
TICKS_BACKFILLED = 1_000  #: of one backfill
TICKS_PREVIEWED = 100  #: of one preview
EAGER_PARENTS = 100  #: of a step that may run before all of them have ended

EVENTS = 20  #: events that one step publishes
EVENT_NAME_CHARACTERS = 128  #: of the name of an event
EVENT_BYTES = 64 << 10  #: of the payload of one event
