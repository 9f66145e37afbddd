"""Runs steps: claims them, calls their handlers, settles their outcomes.

    Claimer --claims--> Executor --outcomes--> Settler --settlement--> Store
       ^                                          |
       +---------- steps that it freed -----------+

- `Worker` owns the parts, registers its templates, and starts and stops the parts.
- `Claimer` asks the store for as many steps as slots are free, reads what their handlers
  need into the `TaskCache`, and hands them to the executor.
- `Executor` calls handlers by one of three `runners` (event loop, threads, processes) and
  decides the outcome of each attempt: a result, or what `failure` makes of an error.
- `Settler` stores outcomes, as many as have gathered while the last settlement was under
  way. The store frees the steps that waited for them and claims some for this worker:
  they go to `Claimer.accept`, the only way back (`Settler.freed_to`).
- `Slots` counts slots used by attempts and reserved by pending claims. All three
  share it.
- `WorkerLease` renews one lease for all that the executor holds. When the store revokes a
  claim, or the lease is lost, it has the executor stop those attempts.
- `Janitor` performs periodic duties for all workers: expired leases, missed deadlines.
- `Background` runs the loops of these parts. An unexpected failure of one ends the worker.
- `Reporter` turns all of it into events for observers, and into log records.

`Worker` is imported when it is first used: naming log records does not need it.
"""

from typing import TYPE_CHECKING, Any

from tasker.engine.logs import AttemptFilter

if TYPE_CHECKING:
    from tasker.engine.worker import Worker

__all__ = ["AttemptFilter", "Worker"]


def __getattr__(name: str) -> Any:  # the type of any attribute
    if name != "Worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tasker.engine.worker import Worker

    return Worker
