"""Runs steps: claims them, calls their handlers, settles their outcomes.

    Claimer --claims--> Executor --outcomes--> Settler --settlement--> Store
       ^                                          |
       +---------- steps that it freed -----------+

- `Worker` owns the other parts, registers its templates, and starts and stops them.
- `Claimer` claims as many steps as there are free slots, reads what their handlers need into the
  `TaskCache`, and passes them to the executor.
- `Executor` calls handlers by one of three `runners` (event loop, threads, processes) and
  decides the outcome of each attempt: a result, or what `failure` makes of an error.
- `Settler` stores outcomes: those that arrived during one settlement form the next, and large
  settlements overlap. The store frees the steps that waited for them and claims some for this
  worker; these are passed to `Claimer.accept_claims`, the only path back
  (`Settler.set_freed_step_consumer`).
- `Slots` counts slots used by attempts and reserved by pending claims. All three
  share it.
- `WorkerLease` renews one lease for all claims that the executor holds. If the store revokes a
  claim, or the lease is lost, the executor stops those attempts.
- `Janitor` performs periodic duties for all workers: expired leases, missed deadlines.
- `Background` runs the loops of these parts. An unexpected failure of a loop stops the worker.
- `Reporter` turns these actions into events for observers and into log records.

`Worker` is imported on first use, because the log filter does not need it.
"""

from typing import TYPE_CHECKING, Any

from tasker.engine.logs import AttemptLogFilter

if TYPE_CHECKING:
    from tasker.engine.worker import Worker

__all__ = ["AttemptLogFilter", "Worker"]


def __getattr__(name: str) -> Any:  # the type of any attribute
    if name != "Worker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tasker.engine.worker import Worker

    return Worker
