"""CPU, memory and machine figures from Linux's /proc. On other systems they are None."""

import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_TICK = 1 / os.sysconf("SC_CLK_TCK")
_NO_PARENT = ("", "")


def memory(pid: int) -> float | None:
    """Return the resident memory of a process, in MB."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return None


def cpu_of_process(pid: int) -> float | None:
    """Return the CPU seconds used by all threads of a process, to 10 ms."""
    fields = _stat(pid)
    return None if fields is None else sum(map(int, fields[11:13])) * _TICK


def cpu_of_family(pid: int) -> float | None:
    """Return the CPU seconds used by a process and its children, the ended ones included."""
    own = _stat(pid)
    if own is None:
        return None
    children = (child for child in _processes() if (_stat(child) or _NO_PARENT)[1] == str(pid))
    ended = sum(map(int, own[13:15])) * _TICK
    return ended + sum(map(_own_cpu, (pid, *children)))


def _own_cpu(pid: int) -> float:
    """Return the CPU seconds of a single-threaded process, in nanoseconds where Linux counts so."""
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[0]) / 1e9
    except OSError:
        fields = _stat(pid)
        return sum(map(int, fields[11:13])) * _TICK if fields else 0.0


def _processes() -> Iterator[int]:
    return (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit())


def _stat(pid: int) -> list[str] | None:
    """Read the fields after the name in parentheses: state, parent, ..."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def machine() -> dict[str, str | float | None]:
    """Return the facts about this machine that a measurement depends on."""
    return {
        "cpu": _line("cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count() or 0,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def contention() -> float:
    """Return how many times longer this process takes than it would alone."""
    start, cpu = time.perf_counter(), time.process_time()
    while time.process_time() - cpu < 0.2:
        pass
    return max(1.0, (time.perf_counter() - start) / (time.process_time() - cpu))


def disk_of(directory: Path) -> str | None:
    """Return the type of the file system that a directory is on."""
    try:
        mounts = [line.split()[:3] for line in (_PROC / "mounts").read_text().splitlines()]
    except OSError:
        return None
    above = [mount for mount in mounts if directory.resolve().is_relative_to(mount[1])]
    innermost = max(above, key=lambda mount: len(mount[1]), default=None)
    return None if innermost is None else innermost[2]


def _line(file: str, name: str) -> str | None:
    try:
        lines = (_PROC / file).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), None)
