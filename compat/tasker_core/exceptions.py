"""Exceptions of the worker and the client."""


class TaskerError(Exception):
    """Base class of all exceptions of this package, those of handlers included."""


class WorkerNotInitializedError(TaskerError, RuntimeError):
    """No worker runs in this process."""


class WorkerBootstrapError(TaskerError, RuntimeError):
    """The worker cannot start: its store, its templates or its handlers are unusable."""


class WorkerAlreadyRunningError(TaskerError, RuntimeError):
    """A worker runs already in this process."""


class FFIError(TaskerError, RuntimeError):
    """Kept for imports: there is no foreign code here."""


class ConversionError(TaskerError, ValueError):
    """Kept for imports: a value that cannot be converted."""
