"""The process that checks against schemas which may take long."""

import signal
import subprocess
import sys

from tasker.template.schema_process import _exchange_lines


def test_a_process_that_does_not_answer_is_killed() -> None:
    sleeping = [sys.executable, "-c", "import time; time.sleep(20)"]
    with subprocess.Popen(sleeping, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        answer = _exchange_lines(process, b"1\n", 0.2)

    assert (b"", -signal.SIGKILL) == (answer, process.returncode)
