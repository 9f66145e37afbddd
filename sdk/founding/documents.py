"""The founding documents, and the list of their code in `founding.toml`."""

import os
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SDK = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```(\w*)\s*$")


@dataclass(frozen=True)
class Block:
    """A passage of code in a document; lines count from 1, fences excluded."""

    document: str
    first: int
    last: int
    language: str
    how: str
    by: str = ""
    until: str = ""
    note: str = ""

    @property
    def place(self) -> str:
        """Return the document's number and the first line, as `001:28`."""
        return f"{self.document[:3]}:{self.first}"


@cache
def listed() -> tuple[Block, ...]:
    """Return the blocks of `founding.toml`."""
    return tuple(
        Block(**each) for each in tomllib.loads((SDK / "founding.toml").read_text())["block"]
    )


def folder() -> Path | None:
    """Return the folder of the documents, or None where they are not available."""
    name = os.environ.get("TASKER_FOUNDING_DOCUMENTS")
    return Path(name) if name and Path(name).is_dir() else None


def text_of(block: Block) -> str:
    """Return a block's text, from the documents."""
    documents = folder()
    assert documents is not None
    lines = (documents / block.document).read_text().splitlines()[block.first - 1 : block.last]
    if block.until:
        lines[-1] = lines[-1][: lines[-1].index(block.until) + len(block.until)]
    return "\n".join(lines) + "\n"


def block_at(place: str) -> Block:
    """Return the listed block at a place, as `001:28`."""
    return next(block for block in listed() if block.place == place)


def fenced(document: Path) -> list[tuple[int, int, str]]:
    """Return (first line, last line, language) of a document's fenced blocks."""
    blocks, begin, language = [], 0, ""
    for number, line in enumerate(document.read_text().splitlines(), 1):
        if not (match := FENCE.match(line)):
            continue
        if begin:
            blocks.append((begin, number - 1, language))
            begin = 0
        else:
            begin, language = number + 1, match[1] or "text"
    return blocks
