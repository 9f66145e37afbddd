"""Reads the results of instances from the store."""

from functools import partial

from tasker.handlers.instances import InstanceReader, JoinedStep
from tasker.model import TaskId
from tasker.store.protocol import WorkerStore


def make_instance_reader(
    store: WorkerStore, task_id: TaskId, joined: JoinedStep, join_no: int
) -> InstanceReader:
    """Return a reader of the results of the instances that a join of a task has."""
    return InstanceReader(
        joined,
        join_no,
        partial(store.list_spawns, task_id),
        lambda nos: store.load_step_results({task_id: nos}),
    )
