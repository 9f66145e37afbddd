"""The quickstart, followed to the letter."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.test_examples import ROOT

PAGE = (ROOT / "docs" / "quickstart.md").read_text("utf-8")
FILES = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
COMMANDS = [line for line in re.findall(r"^    (\S.*)$", PROSE, re.M) if "pip install" not in line]


def test_every_command_of_the_quickstart_works(tmp_path: Path) -> None:
    """
    The files are written as printed, the commands run as printed, in the order of the page.
    """
    for name, content in FILES:
        (tmp_path / name).write_text(content, "utf-8")
    kept = {name: value for name, value in os.environ.items() if "TASKER" not in name}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    outputs = {}
    for command in COMMANDS:
        ran = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            env={**kept, "PATH": path, "PYTHONUTF8": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert 0 == ran.returncode, f"{command}: {ran.stdout}{ran.stderr}"
        outputs[command] = ran.stdout

    assert 7 == len(outputs)
    assert "p-r-mug shipped, 2500 cents charged\n" == outputs["python main.py"]
    assert "1 passed" in outputs["pytest test_orders.py"]
    assert "no problems" in outputs["tasker check --handlers orders.py"]
