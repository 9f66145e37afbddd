"""What most tests of the engine begin with."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from tasker import Retry, Template
from tasker.errors import StoreUnavailable
from tasker.model import Backoff, StepSpec
from tasker.notices import Notice
from tasker.settings import WorkerSettings
from tasker.store.protocol import Store

SOON = timedelta(seconds=300)  #: only a test that fails takes so long
AT_ONCE = Retry(backoff=Backoff.NONE)
ONE_SLOT = WorkerSettings(slots=1)


def step(name: str, *after: str, **options: Any) -> StepSpec:
    """Make a step that waits for `after`, and is tried again without delay."""
    options.setdefault("retry", AT_ONCE)
    return StepSpec(name=name, dependencies=after, **options)


def template(name: str, *steps: StepSpec | str, **options: Any) -> Template:
    """Make `n.{name}`; without steps it has one, called as the template is."""
    specs = [spec if isinstance(spec, StepSpec) else step(spec) for spec in steps or (name,)]
    options.setdefault("version", "1.0.0")
    return Template(namespace="n", name=name, steps=tuple(specs), **options)


def of_kind(kind: type[Notice], events: Iterable[Notice]) -> list[Any]:
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


class Unreliable:
    """A store whose replies get lost when a test says so.

    `lose("settle")` lets the next settlement happen and its reply be lost; `refuse("settle")`
    loses the call itself.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lost: dict[str, int] = {}
        self._with_claims = False
        self._refused: dict[str, int] = {}
        self.held_up: dict[str, asyncio.Event] = {}
        """Calls of these names that begin from now on reply only when their event is set;
        those that would bring no claims reply at once."""
        self.calls: list[str] = []

    def lose(self, name: str, times: int = 1, *, with_claims: bool = False) -> None:
        """Lose the next replies; `with_claims`: only such as bring claims."""
        self._lost[name] = times
        self._with_claims = with_claims

    def refuse(self, name: str, times: int = 1) -> None:
        self._refused[name] = times

    def left(self, name: str) -> int:
        """Return how many calls and replies are still to be lost."""
        return self._lost.get(name, 0) + self._refused.get(name, 0)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not asyncio.iscoroutinefunction(method):
            return method

        async def call(*args: Any, **options: Any) -> Any:
            self.calls.append(name)
            if self._refused.get(name, 0) > 0:
                self._refused[name] -= 1
                raise StoreUnavailable(f"the test lost the call of {name}")
            gate = self.held_up.get(name)
            reply = await method(*args, **options)
            if gate is not None and getattr(reply, "claims", True):
                await gate.wait()
            if self._lost.get(name, 0) > 0 and (not self._with_claims or reply.claims):
                self._lost[name] -= 1
                raise StoreUnavailable(f"the test lost the reply of {name}")
            return reply

        return call
