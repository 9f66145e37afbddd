"""The engine's own steps of `map`, `batch` and `repeat`: spawners, checks and joins."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tasker import limits
from tasker.codec import dumps, loads
from tasker.engine.engine_steps import EngineAttempt
from tasker.engine.instances import make_instance_reader
from tasker.errors import AttemptCancelled, Misuse, PermanentError
from tasker.handlers.instances import InstanceInput, InstanceReader, describe_joined_step
from tasker.layout import BodyNodes, EngineStepKind
from tasker.model import (
    MOST_SPAWNED,
    Batch,
    Claim,
    CollectMode,
    InstanceFailurePolicy,
    Json,
    JsonText,
    Map,
    NewInstances,
    Outcome,
    Repeat,
    Spawning,
    StepSpec,
    completed_outcome,
)
from tasker.store.protocol import WorkerStore
from tasker.template.dialects.core import BATCHES
from tasker.template.expressions import Expression, compile_expression

if TYPE_CHECKING:
    from tasker.engine.task_cache import CompiledTemplate


async def spawn_instances(attempt: EngineAttempt) -> Outcome:
    """Insert the instances of a step. This is the handler of spawners."""
    graph = attempt.cached.compiled.graph
    body = graph.layout.bodies[graph.numbers[attempt.spec.name]]
    given = None
    if not isinstance(body.spawning, Repeat):  # whose condition is for the end of an iteration
        given = _spawn_expression(body).evaluate(_expression_values(attempt, body))
    count, items = _count_and_serialize_inputs(body, given)
    offset = attempt.claim.no - body.spawner
    part = max(MOST_SPAWNED // body.size, 1)
    for begin in range(0, count, part):
        texts = [next(items) for _ in range(min(part, count - begin))]
        new = NewInstances(
            "", body.join + offset, attempt.claim.no, body.spawner, count, begin, texts
        )
        await _insert_instances(attempt, new)
    return completed_outcome(attempt.claim, dumps({"instances": count}))


async def continue_or_end_repeat(attempt: EngineAttempt) -> Outcome:
    """End an iteration of a loop, and start the next unless the loop's condition holds."""
    graph, instance = attempt.cached.compiled.graph, attempt.instance
    body = graph.layout.bodies[graph.layout.spawner_around(graph.numbers[attempt.spec.name])]
    loop, name = body.spawning, body.spec.name
    if not isinstance(loop, Repeat) or instance is None:
        raise Misuse(f"step {attempt.spec.name!r} is not part of a loop")
    ends = _spawn_expression(body).is_true(_expression_values(attempt, body))
    if not ends:
        iteration = int(loads(instance.items["iteration"])) + 1
        if iteration >= loop.max:
            raise PermanentError(
                f"{loop.until!r} was still false after {loop.max:,} iterations of {name!r}",
                code="REPEAT_EXHAUSTED",
            )
        join_no = instance.step_number(body.join, graph.layout.spawner_around(body.join))
        every = loop.every.total_seconds()
        items = [dumps(iteration)]
        await _insert_instances(
            attempt,
            NewInstances("", join_no, instance.spawned_by, body.spawner, 1, 0, items, every),
        )
    return completed_outcome(attempt.claim, dumps(ends))


async def _insert_instances(attempt: EngineAttempt, new: NewInstances) -> None:
    if attempt.cancelled or await attempt.engine.store.spawn_instances(attempt.claim, new) is None:
        raise AttemptCancelled("the attempt was cancelled or no longer holds its step")


async def join_instances(attempt: EngineAttempt) -> Outcome:
    """Compute the result of a step with instances. Raises PermanentError if too many failed."""
    graph, store = attempt.cached.compiled.graph, attempt.engine.store
    body = graph.layout.bodies_by_join[graph.numbers[attempt.spec.name]]
    task_id, join_no = attempt.claim.task_id, attempt.claim.no
    reader = make_instance_reader(store, task_id, describe_joined_step(graph, body), join_no)
    if isinstance(body.spawning, Repeat):
        return completed_outcome(attempt.claim, await reader.read_last_result() or JsonText("null"))
    spawns = await store.list_spawns(task_id, join_no)
    count, failed = sum(spawn.instances for spawn in spawns), 0
    if body.tolerates_failures:
        for each in spawns:
            failed += await store.count_failed_instances(each)
        _require_failures_within_limit(body.spec, count, failed)
    if body.spec.collect is CollectMode.LIST and body.spec.reduce is None:
        results = await _collect_results(reader, count)
        if results is not None:
            return completed_outcome(attempt.claim, results)
    summary = {"count": count, "succeeded": count - failed, "failed": failed}
    return completed_outcome(attempt.claim, dumps(summary))


async def cancel_siblings_if_fail_fast(
    store: WorkerStore, compiled: "CompiledTemplate", claim: Claim, instance: InstanceInput
) -> None:
    """Cancel instances that have not started if another one fails and the step declares it.

    The failure is settled afterwards; if the attempt is lost in between, this is repeated.
    """
    layout = compiled.graph.layout
    for scope in instance.offsets:  # from the innermost
        body = layout.bodies[scope]
        if body.tolerates_failures:
            return
        if body.spec.on_failure.policy is InstanceFailurePolicy.FAIL_FAST:
            join_no = instance.step_number(body.join, layout.spawner_around(body.join))
            for each in await store.list_spawns(claim.task_id, join_no):
                await store.cancel_unstarted_instances(each)


def list_spawn_expressions(spec: StepSpec) -> Iterable[str]:
    """Yield the expression of a spawner or check."""
    if spec.spawning is not None and (
        spec.method == EngineStepKind.CHECK or not isinstance(spec.spawning, Repeat)
    ):
        yield _expression_text(spec.spawning)


def _expression_values(attempt: EngineAttempt, body: BodyNodes) -> Mapping[str, Json]:
    """Return the values of the names of a step's expression."""
    names = attempt.expression_values(_spawn_expression(body).paths)
    results = names["results"]
    if body.loop_check_node is None or body.spec.steps or not isinstance(results, Mapping):
        return names
    text = attempt.results.get(body.first)  # the loop's own handler is its body
    own = None if text is None else loads(text)
    return {**names, "results": {**results, body.spec.name: own}}


def _spawn_expression(body: BodyNodes) -> Expression:
    return compile_expression(_expression_text(body.spawning))


def _expression_text(spawning: Spawning) -> str:
    match spawning:
        case Map(over=text) | Batch(total=text) | Repeat(until=text):
            return text


def _count_and_serialize_inputs(body: BodyNodes, given: Json) -> tuple[int, Iterator[JsonText]]:
    """Return the number of instances and, lazily, the input of each as JSON text."""
    spawning, name = body.spawning, body.spec.name
    match spawning:
        case Map(over=over):
            if not isinstance(given, list | tuple):
                raise PermanentError(
                    f"step {name!r} cannot map over {over}: it is {_describe_json_type(given)},"
                    " not a list",
                    code="NOT_A_LIST",
                )
            _require_instance_limit(name, len(given))
            if over.endswith(BATCHES):
                _require_disjoint_cursors(name, given)
            return len(given), (dumps(item, what="an item") for item in given)
        case Batch(total=total):
            if isinstance(given, float) and given.is_integer():
                given = int(given)
            if isinstance(given, bool) or not isinstance(given, int) or given < 0:
                raise PermanentError(
                    f"step {name!r} cannot divide {total} into batches: it is"
                    f" {_describe_json_type(given)}, not a non-negative integer",
                    code="NOT_A_NUMBER",
                )
            size = max(spawning.size, -(-given // (spawning.max_instances or limits.INSTANCES)))
            count = -(-given // size)
            return count, (
                dumps({"start": start, "end": min(start + size, given)})
                for start in range(0, given, size)
            )
        case Repeat():
            return 1, iter([JsonText("0")])


def _require_disjoint_cursors(step: str, batches: Sequence[Json]) -> None:
    """Raise PermanentError if the cursors that an analyzer step returned overlap or run backwards.

    Cursors that are not numbers are not compared.
    """
    last: float | None = None
    for no, batch in enumerate(batches):
        if not isinstance(batch, Mapping):
            raise _invalid_cursor_error(
                step, no, f"it is {_describe_json_type(batch)}, not an object"
            )
        start, end = batch.get("start_cursor"), batch.get("end_cursor")
        if not isinstance(start, int | float) or not isinstance(end, int | float):
            continue
        if end < start:
            raise _invalid_cursor_error(
                step, no, f"its end, {end:,}, is before its start, {start:,}"
            )
        if last is not None and start < last:
            raise _invalid_cursor_error(
                step, no, f"its start, {start:,}, is before the end of the previous range, {last:,}"
            )
        last = end


def _invalid_cursor_error(step: str, no: int, problem: str) -> PermanentError:
    return PermanentError(
        f"step {step!r}: {BATCHES}[{no}] is not a valid cursor: {problem}", code="INVALID_CURSOR"
    )


def _require_instance_limit(step: str, count: int) -> None:
    if count > limits.INSTANCES:
        raise PermanentError(
            f"step {step!r} may have at most {limits.INSTANCES:,} instances, not {count:,}",
            code="too_many_instances",
        )


def _describe_json_type(value: Json) -> str:
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list | tuple) else f"{value!r:.60}"


def _require_failures_within_limit(spec: StepSpec, count: int, failed: int) -> None:
    policy = spec.on_failure
    most = policy.max_failures
    if policy.max_failed_percent is not None:
        most = int(count * policy.max_failed_percent / 100)
    if most is not None and failed > most:
        raise PermanentError(
            f"{failed:,} of {count:,} instances of {spec.name!r} failed; the maximum is {most:,}",
            code="TOO_MANY_FAILURES",
            details={"count": count, "failed": failed, "max_failures": most},
        )


async def _collect_results(reader: InstanceReader, count: int) -> JsonText | None:
    """Return the results of all instances; None if there are too many or they are too large for a
    list."""
    if count > limits.COLLECTED:
        return None
    texts: list[str] = []
    size = 0
    async for page in reader.iterate_pages():
        texts += (text or "null" for text in page)
        size += sum(map(len, texts[-len(page) :])) if page else 0
        if size > limits.COLLECTED_BYTES:
            return None
    return JsonText(f"[{','.join(texts)}]")
