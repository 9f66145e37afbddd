"""SQL statements in files: one statement per file, with `:name` parameters and named states.

Files contain `{ENQUEUED}` for a state and `{OUTCOME.RETRY}` for an outcome. Loading replaces these
with numbers. They are literals because the planner only uses a partial index if it sees the index's
condition, which a parameter would hide. `{include NAME}` stands for the text of a fragment, a file
in the folder `fragments` next to the statements; `{include NAME step=s}` replaces `{step}` in it
with `s`.
"""

import re
from collections.abc import Collection, Mapping
from importlib.resources import files
from typing import NamedTuple

from tasker.model import OutcomeCode, StatusCode

_OPTIONAL = re.compile(r"\n *and \(:([a-z_]+)(?:::[a-z]+(?:\[\])?)? is null or (.*)\)(?=\n)")
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")  # not the `::` of a cast
_NAME = re.compile(r"\{(OUTCOME\.)?([A-Z_]+)\}")
_INCLUDE = re.compile(r"\{include ([a-z_]+)((?: [a-z_]+=[^ }]+)*)\}")
_COMMENT = re.compile(r"--[^\n]*\n?")


class Statement(NamedTuple):
    """One statement, and the names of its parameters in the order of their first use."""

    text: str
    names: tuple[str, ...]

    def with_numbered_parameters(self) -> "Statement":
        """Return the statement with `$1`, `$2`, ... instead of the names."""
        return Statement(
            _PARAMETER.sub(lambda match: f"${self.names.index(match[1]) + 1}", self.text),
            self.names,
        )

    def without_unused_filters(self, given: Collection[str]) -> "Statement":
        """Return the statement without the lines `and (:name is null or ...)` for names not in
        `given`.

        Neither database uses an index for a condition that may be absent: SQLite plans a
        statement before it knows the parameters, PostgreSQL joins no subquery inside an `or`.
        """

        def keep_given_filter(line: re.Match[str]) -> str:
            return f"\n  and ({line[2]})" if line[1] in given else ""

        text = _OPTIONAL.sub(keep_given_filter, self.text)
        return Statement(text, tuple(dict.fromkeys(_PARAMETER.findall(text))))

    @property
    def has_optional_filters(self) -> bool:
        """Whether it has conditions of parameters that may be null."""
        return _OPTIONAL.search(self.text) is not None


def load_statements(package: str, folder: str) -> dict[str, Statement]:
    """Read the `.sql` files of a package's folder, by name without the suffix."""
    statements = {}
    for name, text in load_scripts(package, folder).items():
        code = _COMMENT.sub("\n", text)
        names = tuple(dict.fromkeys(_PARAMETER.findall(code)))
        statements[name] = Statement(code.strip(), names)
    return statements


def load_scripts(package: str, folder: str) -> dict[str, str]:
    """Read the `.sql` files of a package's folder by name, with includes and names replaced."""
    fragments = {
        name: _COMMENT.sub("", text).strip()
        for name, text in _read_sql_files(package, "fragments").items()
    }
    return {
        name: replace_code_names(_expand_includes(text, fragments))
        for name, text in _read_sql_files(package, folder).items()
    }


def _read_sql_files(package: str, folder: str) -> dict[str, str]:
    listed = sorted(files(package).joinpath(folder).iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".sql"): file.read_text()
        for file in listed
        if file.name.endswith(".sql")
    }


def _expand_includes(text: str, fragments: Mapping[str, str]) -> str:
    """Replace each `{include NAME}` by the fragment of that name."""

    def expand_include(include: re.Match[str]) -> str:
        expanded = _expand_includes(fragments[include[1]], fragments)
        for pair in include[2].split():
            name, value = pair.split("=")
            expanded = expanded.replace(f"{{{name}}}", value)
        return expanded

    return _INCLUDE.sub(expand_include, text)


def replace_code_names(text: str) -> str:
    """Replace the names of states and outcomes by their numbers.

    Raises:
        KeyError: A name is neither a state nor an outcome.
    """
    return _NAME.sub(
        lambda match: str(int(OutcomeCode[match[2]] if match[1] else StatusCode[match[2]])), text
    )
