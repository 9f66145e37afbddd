"""Identifies this process to others on the same machine, and detects that a process has ended.

A killed worker keeps its lease until it expires. Other workers on the same machine need not wait
that long, because they can see that the process has ended. This requires Linux's `/proc`; on other
systems the machine has no name, and only leases count.
"""

import os
import socket
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from tasker.model import WorkerRegistration

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SELF = Path("/proc/self")


def describe_this_process(labels: Mapping[str, str]) -> WorkerRegistration:
    """Describe this process for the store."""
    return WorkerRegistration(
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=(_process_start_time(os.getpid()) or 0) if machine_id() else 0,
        machine=machine_id(),
        labels=labels,
    )


@cache
def machine_id() -> str:
    """Return an id shared by the processes that can see each other's pids, or "" if unknown.

    It identifies the host, its boot, and the pid namespace, since containers on one host have
    separate namespaces. A namespace's number is only reused once all of its processes have ended,
    so a process of the earlier namespace correctly counts as ended.
    """
    try:
        if _SELF.readlink().name != str(os.getpid()):
            return ""  # `/proc` shows another namespace
        facts = socket.gethostname(), _BOOT.read_text().strip(), str((_SELF / "ns/pid").readlink())
    except OSError:
        return ""
    return sha256("\n".join(facts).encode()).hexdigest()[:16]


def has_process_ended(pid: int, started: int) -> bool:
    """Return whether the process with this id and start time on this machine has ended.

    A later process may have the same id, but not the same start time. A process that cannot be
    inspected, for example because it belongs to another user, counts as running.
    """
    try:
        return _process_start_time(pid) != started
    except FileNotFoundError:
        return not _process_exists(pid)  # `/proc` may hide the processes of other users
    except OSError:
        return False


def _process_start_time(pid: int) -> int | None:
    """Return the start time of a process, in clock ticks since boot, or None if it is dead.

    Raises:
        OSError: The process does not exist, or its state cannot be read.
    """
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 1 :].split()  # the preceding name may contain anything
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else started


def _process_exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
