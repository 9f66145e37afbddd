"""SQL kept in files: one statement a file, with `:name` parameters."""

import re
from collections.abc import Collection
from importlib.resources import files
from typing import NamedTuple

_OPTIONAL = re.compile(r"\n *and \(:([a-z_]+) is null or (.*)\)(?=\n)")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")  # a cast's `::` is none


class Statement(NamedTuple):
    """One statement, and the names of its parameters in the order of their first use."""

    text: str
    names: tuple[str, ...]

    def numbered(self) -> "Statement":
        """The same with `$1`, `$2`, ... for the names."""
        return Statement(
            _PARAMETER.sub(lambda found: f"${self.names.index(found[1]) + 1}", self.text),
            self.names,
        )

    def narrowed(self, given: Collection[str]) -> "Statement":
        """The same without the lines `and (:name is null or ...)` of names that are not given."""

        def keep(line: re.Match[str]) -> str:
            return f"\n  and ({line[2]})" if line[1] in given else ""

        return Statement(_OPTIONAL.sub(keep, self.text), self.names)


def load(package: str, folder: str) -> dict[str, Statement]:
    """Read the `.sql` files of a package's folder, by name without the ending."""
    statements = {}
    for file in sorted(files(package).joinpath(folder).iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            text = file.read_text()
            code = re.sub(r"--[^\n]*", "", text)
            names = tuple(dict.fromkeys(_PARAMETER.findall(code)))
            statements[file.name.removesuffix(".sql")] = Statement(code.strip(), names)
    return statements


def scripts(package: str, folder: str) -> dict[str, str]:
    """Read the `.sql` files of a package's folder as they are, by name, in order."""
    return {
        file.name.removesuffix(".sql"): file.read_text()
        for file in sorted(files(package).joinpath(folder).iterdir(), key=lambda file: file.name)
        if file.name.endswith(".sql")
    }
