"""Error responses of the worker protocol."""

from tasker.errors import InvalidInput, Rejected, TaskerError


class InvalidRequest(InvalidInput):
    """A field of a request is missing or invalid."""

    code = "invalid_request"


class InvalidTicket(TaskerError):
    """A ticket was not issued by a server, or it belongs to another worker."""

    code = "invalid_ticket"


class UnknownWorker(TaskerError):
    """No worker is registered with the id."""

    code = "unknown_worker"


class UnsupportedProtocol(InvalidInput):
    """The worker uses a version of the protocol that this server does not support."""

    code = "protocol_unsupported"


class ClaimRequestInProgress(Rejected):
    """Another claim request of the worker is in progress."""

    code = "claim_under_way"


class ServerDraining(TaskerError):
    """The server is shutting down."""

    code = "draining"
