"""Runs steps: claims them, calls their handlers, settles what came of it."""

from tasker.engine.logs import AttemptFilter
from tasker.engine.worker import Worker

__all__ = ["AttemptFilter", "Worker"]
