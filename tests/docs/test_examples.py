"""Every example in the README and the docs runs."""

from pathlib import Path

import pytest
from sybil import Document, Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from tasker.template.load import parse_template

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "docs" / "quickstart.md"  #: its files import each other: see test_quickstart.py
PAGES = sorted({ROOT / "README.md", *(ROOT / "docs").rglob("*.md")} - {QUICKSTART})


def load_yaml(example: Example) -> None:
    """A block that starts like a template must be a valid one."""
    text = str(example.parsed)
    if text.lstrip().startswith("name:"):
        parse_template(text, file=example.path)


SYBIL = Sybil(parsers=[PythonCodeBlockParser(), CodeBlockParser("yaml", load_yaml)])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Blocks run in order and share their names, in an empty directory.
    """
    monkeypatch.chdir(tmp_path)
    document: Document = SYBIL.parse(page)
    document.namespace["__name__"] = "__main__"  # an example may be a program
    for example in document.examples():
        example.evaluate()
