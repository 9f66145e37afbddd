"""This process as others on the same machine recognise it, and whether such a process is gone.

A killed worker keeps its lease until that expires. Another worker on the same machine need
not wait so long: it sees that the process is gone. This needs Linux's `/proc`; elsewhere no
machine has a name, and leases decide alone.
"""

import os
import socket
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path

from tasker.model import WorkerProcess

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_SELF = Path("/proc/self")


def this_process(labels: Mapping[str, str]) -> WorkerProcess:
    """Describe this process for the store."""
    return WorkerProcess(
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=(_started(os.getpid()) or 0) if machine() else 0,
        machine=machine(),
        labels=labels,
    )


@cache
def machine() -> str:
    """Return what processes have in common that see each other's ids; "" if it is not known.

    The same host, started once, and the same namespace of process ids: two containers on one
    host have two. The number of a namespace is used again only when all of its processes are
    gone, so what had it before is recognised rightly.
    """
    try:
        if _SELF.readlink().name != str(os.getpid()):
            return ""  # `/proc` shows another namespace
        facts = socket.gethostname(), _BOOT.read_text().strip(), str((_SELF / "ns/pid").readlink())
    except OSError:
        return ""
    return sha256("\n".join(facts).encode()).hexdigest()[:16]


def is_gone(pid: int, started: int) -> bool:
    """Return whether the process that had this id and start on this machine has ended.

    A later process may have the same id, but no two have the same start as well. A process
    that cannot be looked at, as one of another user may be, is not gone.
    """
    try:
        return _started(pid) != started
    except FileNotFoundError:
        return not _exists(pid)  # `/proc` may hide the processes of other users
    except OSError:
        return False


def _started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since the boot; None for a dead one.

    Raises:
        OSError: It does not exist, or its state cannot be read.
    """
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat[stat.rindex(")") + 1 :].split()  # the name before may contain anything
    state, started = fields[0], int(fields[19])
    return None if state in "ZX" else started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True
