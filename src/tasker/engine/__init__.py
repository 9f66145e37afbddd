"""Runs steps: claims them, calls their handlers, settles what came of it."""

from tasker.engine.worker import Worker

__all__ = ["Worker"]
