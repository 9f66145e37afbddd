"""The server's cache of the tasks whose steps remote workers run."""

from tasker.engine.task_cache import CompiledTemplate, TaskCache
from tasker.graph import step_numbers
from tasker.handlers import Handlers
from tasker.layout import EngineCall
from tasker.model import ENGINE, Template
from tasker.store.protocol import WorkerStore

_MEMORY = 64 << 20  #: bytes of contexts and results, for each environment
_UNREADABLE = (EngineCall.SPAWN, EngineCall.CHECK)  #: engine steps whose results are not given


class RemoteTemplate(CompiledTemplate):
    """A template whose handlers are in remote workers."""

    def needs(self, no: int) -> int | None:
        """Return the mask of all steps before step `no`, since workers differ in what they need.

        None: the step was made at run time.
        """
        return None if self.is_instance(no) else self.graph.ancestors[no]

    def readable(self, no: int, needs: str | tuple[str, ...]) -> list[tuple[str, int]]:
        """Return names and numbers of the steps whose results a handler gets."""
        before = self.graph.ancestors[no]
        if needs == "none":
            return []
        if needs == "parents":
            before = sum(1 << parent for parent in self.graph.parents[no])
        return [
            (self.graph.names[number - 1], number)
            for number in step_numbers(before)
            if not (self.spec(number).handler == ENGINE and self.spec(number).method in _UNREADABLE)
            and (isinstance(needs, str) or self.graph.names[number - 1] in needs)
        ]


class RemoteTasks(TaskCache):
    """Caches tasks with all results that remote handlers may read.

    Args:
        store: The store.
        environment: The environment whose overrides apply.
    """

    def __init__(self, store: WorkerStore, environment: str | None) -> None:
        super().__init__(store, Handlers.of(), environment=environment, limit=_MEMORY)

    def _compile(self, template: Template) -> CompiledTemplate:
        return RemoteTemplate(template, self._handlers)
