"""What a worker knows of templates and tasks, so that it need not ask again."""

from collections import OrderedDict
from collections.abc import Iterable

from tasker.errors import Misuse
from tasker.graph import Graph, members
from tasker.handler import Handlers, Plan
from tasker.model import Claim, JsonText, StepSpec, TaskId, TaskInput, Template, TemplateId
from tasker.store.protocol import Store


class ServedTemplate:
    """A template as this worker runs it: in its environment, with its handlers."""

    def __init__(self, template: Template, handlers: Handlers) -> None:
        self.template = template
        self.graph = Graph(template)
        self._handlers = handlers
        self._plans: list[Plan | Misuse | None] = [None] * (len(template.steps) + 1)

    def spec(self, no: int) -> StepSpec:
        return self.template.steps[no - 1]

    def plan(self, no: int) -> Plan | Misuse:
        """Tell how a step is called, or why it cannot be."""
        plan = self._plans[no]
        if plan is None:
            plan = self._plans[no] = self._compile(self.spec(no))
        return plan

    def _compile(self, spec: StepSpec) -> Plan | Misuse:
        try:
            found = self._handlers.plan(self.template, self.graph, spec)
        except Misuse as error:
            return error
        return found or self._handlers.missing(spec.handler, self.template.namespace)


class KnownTask:
    """A task's input, and the results of its steps as far as they are known."""

    __slots__ = ("input", "known", "results", "served", "size")

    def __init__(self, task: TaskInput, served: ServedTemplate) -> None:
        self.input = task
        self.served = served
        self.results: dict[int, JsonText | None] = {}
        self.known = 0  #: mask of the steps in `results`
        self.size = len(task.context) + 500

    def learn(self, no: int, result: JsonText | None) -> int:
        """Keep a result; tell by how many bytes the task grew."""
        self.results[no] = result
        self.known |= 1 << no
        grown = 100 + (len(result) if result else 0)
        self.size += grown
        return grown


class Knowledge:
    """Keeps what was used last, up to a number of bytes."""

    def __init__(
        self, store: Store, handlers: Handlers, *, environment: str | None, limit: int
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._environment = environment
        self._limit = limit
        self._size = 0
        self._templates: dict[TemplateId, ServedTemplate] = {}
        self._tasks: OrderedDict[TaskId, KnownTask] = OrderedDict()

    def task(self, claim: Claim) -> KnownTask | None:
        """Tell what is known of a claim's task if that is all its handler needs."""
        task = self._tasks.get(claim.task_id)
        if task is None:
            return None
        plan = task.served.plan(claim.no)
        if isinstance(plan, Plan) and plan.needs & ~task.known:
            return None
        return task

    async def fetch(self, claims: Iterable[Claim]) -> None:
        """Read what is missing for claims, in two statements at most."""
        claims = list(claims)
        unknown = {claim.task_id for claim in claims if claim.task_id not in self._tasks}
        if unknown:
            for given in await self._store.load_tasks(sorted(unknown)):
                self._keep(KnownTask(given, await self.template(given.template_id)))
        wanted: dict[TaskId, int] = {}
        for claim in claims:
            found = self._tasks.get(claim.task_id)
            if found is not None and isinstance(plan := found.served.plan(claim.no), Plan):
                missing = plan.needs & ~found.known
                wanted[claim.task_id] = wanted.get(claim.task_id, 0) | missing
        masks = {task_id: list(members(mask)) for task_id, mask in wanted.items() if mask}
        if masks:
            for row in await self._store.load_results(masks):
                self.learn(row.task_id, row.no, row.result)
            for task_id, mask in wanted.items():  # skipped ones have no row worth asking again
                if task := self._tasks.get(task_id):
                    task.known |= mask
        self._shrink(keep={claim.task_id for claim in claims})

    async def template(self, template_id: TemplateId) -> ServedTemplate:
        """Tell a template as this worker runs it."""
        served = self._templates.get(template_id)
        if served is None:
            stored = await self._store.template_by_id(template_id)
            template = stored.template.for_environment(self._environment)
            served = self._templates[template_id] = ServedTemplate(template, self._handlers)
        return served

    async def remember(self, task: TaskInput) -> None:
        """Keep the input of a task that was made here."""
        self._keep(KnownTask(task, await self.template(task.template_id)))

    def learn(self, task_id: TaskId, no: int, result: JsonText | None) -> None:
        """Keep a result that later steps may need."""
        task = self._tasks.get(task_id)
        if task is not None:
            self._size += task.learn(no, result)

    def forget(self, task_id: TaskId) -> None:
        """Drop a task that ended."""
        task = self._tasks.pop(task_id, None)
        if task is not None:
            self._size -= task.size

    def _keep(self, task: KnownTask) -> None:
        self.forget(task.input.task_id)
        self._tasks[task.input.task_id] = task
        self._size += task.size

    def _shrink(self, keep: set[TaskId]) -> None:
        while self._size > self._limit and len(self._tasks) > len(keep):
            task_id = next(iter(self._tasks))
            if task_id in keep:
                self._tasks.move_to_end(task_id)
            else:
                self.forget(task_id)
