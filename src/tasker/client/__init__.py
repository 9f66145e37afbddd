"""Clients for programs that create tasks, read them and act on them."""

from tasker.client.connect import connect, connect_sync
from tasker.client.local import AttemptOrigin, LocalClient
from tasker.client.protocol import Client, TaskOptions, TaskRequest
from tasker.client.sync import SyncClient

__all__ = [
    "AttemptOrigin",
    "Client",
    "LocalClient",
    "SyncClient",
    "TaskOptions",
    "TaskRequest",
    "connect",
    "connect_sync",
]
