"""What docs/testing.md shows works in a project that has nothing of this one's configuration."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_examples_pass_as_tests_of_a_user(tmp_path: Path) -> None:
    """All in one file, run by plain pytest, with a part of the store suite."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "test_mine.py").write_text("\n\n".join(blocks))
    (tmp_path / "conftest.py").write_text(
        'import pytest\n\n\n@pytest.fixture\ndef anyio_backend():\n    return "asyncio"\n'
    )

    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"),
            *("-k", "order or nothing or amount or TestFence or TestSchema"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout[-5000:]
    assert re.search(r"^[2-9]\d passed", done.stdout.splitlines()[-1]), done.stdout[-500:]
