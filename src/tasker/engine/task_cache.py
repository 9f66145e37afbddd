"""Caches templates, task inputs and results, to avoid reading them again."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

from tasker import codec
from tasker.arrival import handler_queue_of_step, steps_that_may_be_skipped
from tasker.bounded_cache import BoundedCache
from tasker.engine.built_in import compile_built_in_call_plan
from tasker.engine.conditions import RunCondition, compile_child_selectors
from tasker.engine.engine_steps import BuiltInCallPlan, ParentState, build_expression_values
from tasker.errors import HandlerNotFound, Misuse
from tasker.graph import Graph, numbers_in_mask
from tasker.handlers import CallPlan, Handlers
from tasker.handlers.instances import InstanceInput
from tasker.layout import fill_step_name_pattern, instance_input_names
from tasker.model import (
    ENGINE,
    STEP_STATUSES,
    TASK_NODE,
    AttemptKey,
    Claim,
    InstanceFailurePolicy,
    JsonText,
    PauseTarget,
    RuntimeStep,
    SettlementDurability,
    StatusCode,
    StepResult,
    StepSpec,
    StepStatus,
    TaskId,
    TaskInput,
    Template,
    TemplateId,
)
from tasker.store.protocol import WorkerStore
from tasker.template.expressions import Path

TEMPLATE_STEPS = 20_000  #: steps of the templates that are kept without a task here
_SHARE = 8  #: a result that takes more than this part of the cache is not kept
MOST_PLANS = 10_000  #: compiled calls that are kept of one template


class CompiledTemplate:
    """A template compiled for this worker's environment and handlers."""

    def __init__(
        self,
        template: Template,
        handlers: Handlers,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.template = template
        self.key = template.key
        self.graph = Graph(template)
        #: steps that the engine decides about before they run; None: it has none
        self.conditions = {
            no: RunCondition(self.graph, no) for no in steps_that_may_be_skipped(self.graph)
        } or None
        #: those of them that are under limits
        self.gated = {
            no
            for no in self.conditions or ()
            if handler_queue_of_step(template, self.graph, no).gated
        }
        #: the handlers' queues of the others; None: it has none
        self.handler_queues = {
            no: PauseTarget.of_queue(template.namespace, handler)
            for no in self.conditions or ()
            if (handler := self.step_spec(no).handler) != ENGINE and no not in self.gated
        } or None
        self.bounds_open_tasks = template.concurrency is not None
        #: decisions, and steps with an eager child; None: it has none
        self.choices = compile_child_selectors(self.graph) if self.conditions else None
        self.fails_fast = any(
            body.spec.on_failure.policy is InstanceFailurePolicy.FAIL_FAST
            for body in self.graph.layout.bodies.values()
        )
        """Whether the failure of an instance may cancel other instances."""

        self.relaxed = template.durability is SettlementDurability.RELAXED
        #: fan_out[no]: number of steps that wait for step `no`
        self.fan_out = [
            sum(child != TASK_NODE for child in children) for children in self.graph.children
        ]
        self._handlers = handlers
        self._labels = labels
        self._plans: dict[int, CallPlan | BuiltInCallPlan | Misuse] = {}
        self._needs: dict[int, int] = {}  #: of the steps in `_plans`

    def step_spec(self, no: int) -> StepSpec:
        return self.graph.specs[no - 1]

    def is_runtime_step(self, no: int) -> bool:
        """Return whether a task's step was created at run time: no node has its number."""
        return no > len(self.graph.specs)

    def call_plan(self, no: int) -> CallPlan | BuiltInCallPlan | Misuse:
        """Return the plan for calling a step's handler, or the reason why it cannot be called."""
        plan = self._plans.get(no)
        if plan is None:
            if len(self._plans) >= MOST_PLANS:
                oldest = next(iter(self._plans))
                del self._plans[oldest]
                self._needs.pop(oldest, None)
            plan = self._plans[no] = self._compile_call_plan(self.step_spec(no))
        return plan

    def needed_results_bitmask(self, no: int) -> int | None:
        """Return the bitmask of the steps whose results are read before step `no` runs.

        None: the step was created at run time.
        """
        needs = self._needs.get(no)
        if needs is None:
            if self.is_runtime_step(no):
                return None
            plan = self.call_plan(no)
            needs = 0 if isinstance(plan, Misuse) else plan.needs
            if self.conditions is not None and (condition := self.conditions.get(no)):
                needs |= condition.needs
            self._needs[no] = needs
        return needs

    def _compile_call_plan(self, spec: StepSpec) -> CallPlan | BuiltInCallPlan | Misuse:
        if spec.handler == ENGINE:
            return compile_built_in_call_plan(self.graph, spec)
        if not spec.requires.items() <= self._labels.items():
            return HandlerNotFound(f"this worker lacks the labels that {spec.name!r} requires")
        try:
            plan = self._handlers.compile_call_plan(self.template, self.graph, spec)
        except Misuse as error:
            return error.with_traceback(None)  # whose frames would keep this template
        except Exception as error:  # caused by the handler, for example by unreadable annotations
            return Misuse(f"the handler of step {spec.name!r} cannot be called: {error!r}")
        return plan or self._handlers.not_found_error(
            spec.handler, self.template.namespace, spec.handler_version
        )


class CachedTask:
    """A task's context and the cached results of its steps."""

    __slots__ = ("__weakref__", "compiled", "input", "known", "missed", "results", "size")

    instance: InstanceInput | None = None
    """The inputs of the attempt's instance; None if the step is not part of an instance."""

    def __init__(self, task: TaskInput, compiled: CompiledTemplate) -> None:
        self.input = task
        self.compiled = compiled
        self.results: dict[int, JsonText | None] = {}
        self.known = 0  #: bit mask of the steps in `results`
        self.missed: dict[int, ParentState] = {}  #: steps that failed or were skipped
        self.size = len(task.context) + 500

    def add_result(self, no: int, result: JsonText | None) -> int:
        """Store a result, and return the growth of the task in bytes."""
        self.results[no] = result
        self.known |= 1 << no
        if self.missed:
            self.missed.pop(no, None)
        grown = 100 + (len(result) if result else 0)
        self.size += grown
        return grown

    def record_unsuccessful_step(self, no: int, state: ParentState) -> None:
        """Record how a step ended without success. Failures are read again for each attempt."""
        self.missed[no] = state
        self.results[no] = None
        if state.status is StepStatus.SKIPPED:
            self.known |= 1 << no

    def step_state(self, no: int) -> ParentState:
        """Return how a step ended, if that was read."""
        if state := self.missed.get(no):
            return state
        if self.known >> no & 1:
            return ParentState(StepStatus.COMPLETE, self.results[no])
        return ParentState(StepStatus.PENDING)

    def failed_step_errors(self) -> dict[int, JsonText]:
        """Return the errors of the steps that failed, by number."""
        return {
            no: state.error
            for no, state in self.missed.items()
            if state.status is StepStatus.ERROR and state.error is not None
        }

    def expression_values(self, paths: Iterable[Path], **others: Any) -> dict[str, Any]:
        """Return the values of an expression's names: `input`, `results`, and `others`."""
        numbers = self.compiled.graph.numbers
        read = build_expression_values(
            paths, self.input.context, lambda name: self.results.get(numbers.get(name, 0))
        )
        return {**read, **others}

    def copy_with_results(self, mask: int) -> "CachedTask":
        """Return a copy with only the results of a mask of steps."""
        copy = CachedTask(self.input, self.compiled)
        for no in numbers_in_mask(mask & self.known):
            copy.add_result(no, self.results.get(no))
            if no in self.missed:
                copy.missed[no] = self.missed[no]
        return copy


class CachedInstance(CachedTask):
    """A task as seen by the attempt of one instance, with the results of that instance."""

    __slots__ = ("instance",)

    def __init__(self, task: CachedTask, instance: InstanceInput) -> None:
        super().__init__(task.input, task.compiled)
        self.instance = instance

    def expression_values(self, paths: Iterable[Path], **others: Any) -> dict[str, Any]:
        items = self.instance.items.items() if self.instance else ()
        given = {name: codec.loads(text) for name, text in items}
        return super().expression_values(paths, **given, **others)


class TaskCache:
    """Caches tasks, up to a total number of bytes.

    The oldest tasks are removed first. Attempts that run or wait for a slot keep their task and its
    results. A step freed by such an attempt uses them too, in a copy with only the results that the
    step reads. So a task whose results do not fit continues without being read again and without
    growing.
    """

    def __init__(
        self,
        store: WorkerStore,
        handlers: Handlers,
        *,
        environment: str | None,
        limit: int,
        labels: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._environment = environment
        self._labels = labels
        self._limit = limit
        self._size = 0
        self._templates: BoundedCache[TemplateId, CompiledTemplate] = BoundedCache(TEMPLATE_STEPS)
        self._tasks: OrderedDict[TaskId, CachedTask] = OrderedDict()
        #: tasks that were removed, and that attempts still refer to
        self._removed: WeakValueDictionary[TaskId, CachedTask] = WeakValueDictionary()

    def find_task_with_needed_results(self, claim: Claim) -> CachedTask | None:
        """Return a claim's task, or None unless everything that its handler needs is cached."""
        task = self._tasks.get(claim.task_id) or self._removed.get(claim.task_id)
        if task is None:
            return None
        needs = task.compiled.needed_results_bitmask(claim.no)
        if needs is None or needs & ~task.known:
            return None
        return task if claim.task_id in self._tasks else self._recache_evicted_task(task, needs)

    def _recache_evicted_task(self, evicted: CachedTask, needs: int) -> CachedTask:
        """Cache the needed results of an evicted task that attempts still refer to."""
        task = evicted.copy_with_results(needs)
        self._insert_task(task)
        self._evict_oldest()
        return task

    async def fetch_claimed_tasks(self, claims: Sequence[Claim]) -> dict[TaskId, CachedTask]:
        """Return the tasks of claims, after reading what is missing in at most two statements.

        Tasks that the store does not have are omitted.
        """
        tasks = await self._find_or_load_tasks({claim.task_id for claim in claims})
        missing: dict[TaskId, int] = {}
        for claim in claims:
            task = tasks.get(claim.task_id)
            if (
                task is not None
                and (needs := task.compiled.needed_results_bitmask(claim.no)) is not None
            ):
                missing[claim.task_id] = missing.get(claim.task_id, 0) | needs & ~task.known
        wanted = {task_id: list(numbers_in_mask(mask)) for task_id, mask in missing.items() if mask}
        if wanted:
            for row in await self._store.load_step_results(wanted):
                self._record_step_result(tasks[row.task_id], row)
        self._evict_oldest()
        return tasks

    def _record_step_result(self, task: CachedTask, row: StepResult) -> None:
        """Store how a step of the template ended."""
        size = task.size
        _record_step_end(task, row.no, row)
        if self._tasks.get(task.input.task_id) is task:
            self._size += task.size - size

    async def fetch_instance_tasks(
        self, claims: Sequence[Claim], tasks: Mapping[TaskId, CachedTask]
    ) -> dict[AttemptKey, CachedTask]:
        """Return the tasks of those claims whose steps were created at run time.

        Args:
            claims: Claims of any steps.
            tasks: The tasks that `fetch_claimed_tasks` returned for them.
        """
        made = [
            claim
            for claim in claims
            if (task := tasks.get(claim.task_id)) and task.compiled.is_runtime_step(claim.no)
        ]
        if not made:
            return {}
        rows = {
            (row.task_id, row.no): row
            for row in await self._store.load_runtime_steps(_group_step_numbers_by_task(made))
        }
        instances = [
            (claim, tasks[claim.task_id], _build_instance_input(claim, tasks[claim.task_id], rows))
            for claim in made
            if (claim.task_id, claim.no) in rows
        ]
        wanted: dict[TaskId, set[int]] = {}
        for claim, task, instance in instances:
            for node, no in _list_steps_read_by_instance(task.compiled, instance):
                if node != no or not task.known >> no & 1:
                    wanted.setdefault(claim.task_id, set()).add(no)
        results: dict[tuple[TaskId, int], StepResult] = {}
        if wanted:
            numbers = {task_id: sorted(nos) for task_id, nos in wanted.items()}
            for row in await self._store.load_step_results(numbers):
                results[row.task_id, row.no] = row
                if not tasks[row.task_id].compiled.is_runtime_step(row.no):
                    self._record_step_result(tasks[row.task_id], row)
        views: dict[AttemptKey, CachedTask] = {}
        for claim, task, instance in instances:
            views[claim.attempt_key] = view = CachedInstance(task, instance)
            for node, no in _list_steps_read_by_instance(task.compiled, instance):
                ended = results.get((claim.task_id, no))
                if ended is not None:
                    _record_step_end(view, node, ended)
                elif node == no and task.known >> no & 1:
                    view.add_result(node, task.results.get(no))
                    if no in task.missed:
                        view.missed[node] = task.missed[no]
        self._evict_oldest()
        return views

    async def _find_or_load_tasks(self, ids: set[TaskId]) -> dict[TaskId, CachedTask]:
        tasks = {task_id: task for task_id in ids if (task := self._find_task(task_id))}
        unknown = sorted(ids - tasks.keys())
        if unknown:
            for given in await self._load_task_inputs(unknown):
                compiled = await self.load_template(given.template_id)
                tasks[given.task_id] = self._get_or_add_task(given, compiled)
        return tasks

    async def _load_task_inputs(self, ids: Sequence[TaskId]) -> Sequence[TaskInput]:
        return await self._store.load_task_inputs(ids)

    async def load_tasks(self, ids: Iterable[TaskId]) -> dict[TaskId, CachedTask]:
        """Return the tasks that are cached or stored."""
        tasks = await self._find_or_load_tasks(set(ids))
        self._evict_oldest()
        return tasks

    async def load_template(self, template_id: TemplateId) -> CompiledTemplate:
        """Return a template compiled for this worker."""
        compiled = self._templates.get(template_id)
        if compiled is None:
            stored = await self._store.template_by_id(template_id)
            template = stored.template.for_environment(self._environment)
            compiled = self._compile_template(template)
            self._templates.put(template_id, compiled, len(compiled.graph.specs))
        return compiled

    def _compile_template(self, template: Template) -> CompiledTemplate:
        return CompiledTemplate(template, self._handlers, self._labels)

    async def add_created_task(self, task: TaskInput) -> None:
        """Store the input of a task that was created in this process."""
        self._get_or_add_task(task, await self.load_template(task.template_id))
        self._evict_oldest()

    def add_result(self, task_id: TaskId, no: int, result: JsonText | None) -> None:
        """Store a result that later steps may need."""
        task = self._find_task(task_id)
        if task is None or task.compiled.is_runtime_step(no):
            return
        self._add_result(task, no, result)
        if result is not None and len(result) > self._limit // _SHARE:
            self.remove_task(task_id)  # else it would push out all other tasks
            self._removed[task_id] = task
        else:
            self._evict_oldest()

    def remove_task(self, task_id: TaskId) -> None:
        """Remove an ended task."""
        task = self._tasks.pop(task_id, None)
        if task is not None:
            self._size -= task.size
        if self._removed:
            self._removed.pop(task_id, None)

    def clear(self) -> None:
        """Remove all tasks."""
        self._tasks.clear()
        self._removed.clear()
        self._size = 0

    def _get_or_add_task(self, task: TaskInput, compiled: CompiledTemplate) -> CachedTask:
        kept = self._tasks.get(task.task_id)
        if kept is None:
            kept = CachedTask(task, compiled)
            self._insert_task(kept)
        return kept

    def _find_task(self, task_id: TaskId) -> CachedTask | None:
        return self._tasks.get(task_id) or self._removed.get(task_id)

    def _insert_task(self, task: CachedTask) -> None:
        self._tasks[task.input.task_id] = task
        self._size += task.size

    def _add_result(self, task: CachedTask, no: int, result: JsonText | None) -> None:
        grown = task.add_result(no, result)
        if self._tasks.get(task.input.task_id) is task:
            self._size += grown

    def _evict_oldest(self) -> None:
        """Remove the oldest tasks; attempts keep their values."""
        while self._size > self._limit and self._tasks:
            task_id, oldest = self._tasks.popitem(last=False)
            self._size -= oldest.size
            self._removed[task_id] = oldest


def _group_step_numbers_by_task(claims: Sequence[Claim]) -> dict[TaskId, list[int]]:
    """Return the numbers of claimed steps, by task."""
    numbers: dict[TaskId, list[int]] = {}
    for claim in claims:
        numbers.setdefault(claim.task_id, []).append(claim.no)
    return numbers


def _build_instance_input(
    claim: Claim, task: CachedTask, rows: Mapping[tuple[TaskId, int], RuntimeStep]
) -> InstanceInput:
    """Return the inputs of a claimed instance, including those of the instances around it."""
    layout = task.compiled.graph.layout
    own = rows[claim.task_id, claim.no]
    items: dict[str, JsonText] = {}
    offsets: dict[int, int] = {}
    numbers: list[int] = []
    here: RuntimeStep | None = own
    while here is not None:
        scope = layout.spawner_around(here.template_node)
        if not scope or here.spawned_by is None or here.instance is None:  # it undoes a single step
            break
        for name in instance_input_names(layout.bodies[scope].spawning):
            items.setdefault(name, here.item or JsonText("null"))
        node, no = here.template_node, here.no
        if here.undoes is not None:
            node, no = layout.undone_node_by_compensating_node[node], here.undoes
        offsets[scope] = no - node
        numbers.insert(0, here.instance)
        here = rows.get((claim.task_id, here.spawned_by))
    return InstanceInput(
        fill_step_name_pattern(layout.step_name_pattern(own.template_node), numbers),
        own.template_node,
        own.no,
        own.spawned_by or 0,
        own.instance or 0,
        items,
        offsets,
    )


def _record_step_end(task: CachedTask, node: int, row: StepResult) -> None:
    """Store how the step for node `node` of the template ended."""
    if row.state in (StatusCode.ERROR, StatusCode.SKIPPED):
        task.record_unsuccessful_step(node, ParentState(STEP_STATUSES[row.state], None, row.error))
    else:
        task.missed.pop(node, None)
        task.add_result(node, row.result)


def _list_steps_read_by_instance(
    compiled: CompiledTemplate, instance: InstanceInput
) -> Iterator[tuple[int, int]]:
    """Yield the nodes whose results are read for an instance and the numbers of their steps."""
    for node in numbers_in_mask(compiled.needed_results_bitmask(instance.node) or 0):
        yield node, instance.step_number(node, compiled.graph.layout.spawner_around(node))
