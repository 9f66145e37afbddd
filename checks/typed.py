"""Checks users' code with mypy and pyright, both strict; run by `make check`.

Users' code is the examples of README and quickstart and the modules of tests/typed, whose
expected errors are marked: a mark without an error is an error as well.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/quickstart.md")
CASES = ROOT / "tests" / "typed"
FOLDER = ROOT / ".cache" / "typed"
EXAMPLE = re.compile(
    r"(?:`(?P<file>\w+\.py)`:\n\n)?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
PYRIGHT = {
    "include": ["../../tests/typed", "."],
    "typeCheckingMode": "strict",
    "pythonVersion": "3.11",
    "enableTypeIgnoreComments": False,  # only pyright's own marks count
    "reportUnnecessaryTypeIgnoreComment": "error",
}


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    modules = [module for page in PAGES for module in write_modules(page)]
    python = [sys.executable, "-m"]
    commands = (
        [*python, "mypy", str(CASES), *modules],
        [*python, "pyright", "--project", str(FOLDER), "--pythonpath", sys.executable],
    )
    codes = [subprocess.run(command, cwd=ROOT, check=False).returncode for command in commands]  # noqa: S603 - our own
    return max(codes)


def write_modules(page: str) -> list[str]:
    """Write the Python examples of a page, each as the file that is named before it.

    Examples without a name follow in one module, named after the page.
    """
    text = (ROOT / page).read_text("utf-8")
    modules: dict[str, list[str]] = {}
    for example in EXAMPLE.finditer(text):
        name = example["file"] or f"{Path(page).stem.lower()}.py"
        modules.setdefault(name, []).append(example["code"])
    for name, examples in modules.items():
        (FOLDER / name).write_text("\n\n".join(examples))
    return [str(FOLDER / name) for name in modules]


if __name__ == "__main__":
    sys.exit(main())
