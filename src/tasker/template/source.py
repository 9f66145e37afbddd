"""Parses YAML (and thus JSON) into a tree of nodes with their positions in the text.

The text is untrusted: its depth and the expansion of its aliases are limited, and tags are
rejected.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import yaml

from tasker.errors import DocumentProblem, InvalidTemplate
from tasker.template.scalars import parse_plain_scalar

try:
    from yaml import CSafeLoader as Loader
except ImportError:  # PyYAML built without libyaml; slower, and otherwise the same
    from yaml import SafeLoader as Loader  # type: ignore[assignment]

MAX_DEPTH = 100  #: mappings and lists within each other
MAX_REPEATED = 100_000  #: values that aliases may repeat, in all
MAX_PROBLEMS = 100  #: reported for one file

_CORE = "tag:yaml.org,2002:"
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"^%(?!YAML )", re.MULTILINE)
_SURROGATES = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)


class SourcePosition(NamedTuple):
    """A position in a file, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class ScalarNode:
    """One value without parts."""

    value: None | bool | int | float | str
    text: str  #: as it was written
    mark: SourcePosition | None
    rejected: bool = False  #: a problem was noted; readers need not note another
    size: int = 1  #: values in it, itself included, aliases followed
    height: int = 0  #: mappings and lists within each other below it


@dataclass(slots=True)
class ListNode:
    """A list."""

    mark: SourcePosition | None
    nodes: list["Node"] = field(default_factory=list)
    size: int = 1
    height: int = 0


class MappingEntry(NamedTuple):
    """One key of a table, its position and its value."""

    mark: SourcePosition | None
    node: "Node"


@dataclass(slots=True)
class MappingNode:
    """A mapping."""

    mark: SourcePosition | None
    entries: dict[str, MappingEntry] = field(default_factory=dict)
    size: int = 1
    height: int = 0


Node: TypeAlias = ScalarNode | ListNode | MappingNode


@dataclass(slots=True)
class FileProblems:
    """The problems of one file, up to `MAX_PROBLEMS`."""

    file: str
    entries: list[DocumentProblem] = field(default_factory=list)
    more: int = 0  #: that were found beyond these

    def add(self, message: str, mark: SourcePosition | None = None, path: str = "") -> None:
        """Report one problem."""
        if len(self.entries) == MAX_PROBLEMS:
            self.more += 1
            return
        line, column = mark or (None, None)
        self.entries.append(
            DocumentProblem(message=message, path=path, file=self.file, line=line, column=column)
        )

    @property
    def omits_suggestions(self) -> bool:
        """Whether there are so many problems that suggestions are omitted."""
        return len(self.entries) >= MAX_PROBLEMS // 5

    def raise_if_any(self) -> None:
        """Raise InvalidTemplate with the problems in the order of the file, if there are any."""
        if self.entries:
            raise InvalidTemplate(*self.list_in_file_order())

    def list_in_file_order(self) -> list[DocumentProblem]:
        """Return the problems in the order of the file and the number of omitted ones."""
        problems = sorted(
            self.entries, key=lambda problem: (problem.line or 0, problem.column or 0)
        )
        if self.more:
            problems.append(
                DocumentProblem(message=f"and {self.more:,} more problems", file=self.file)
            )
        return problems


def parse_documents(source: str | bytes, problems: FileProblems) -> list[Node]:
    """Read YAML text into the root nodes of its documents; empty documents are omitted.

    Args:
        source: The text, or its bytes in UTF-8, with or without a byte order mark.
        problems: Collects problems within a readable document.

    Raises:
        InvalidTemplate: The text cannot be read at all.
    """
    text = _decode_text(source, problems)
    _check_characters(text, problems)
    builder = _NodeBuilder(problems)
    try:
        for event in _parse_yaml_events(text):
            builder.handle_yaml_event(event)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        mark = SourcePosition(at.line + 1, at.column + 1) if at else None
        problems.add(_describe_syntax_error(error, text, mark), mark)
        problems.raise_if_any()
    except _LimitExceeded:
        problems.raise_if_any()
    except yaml.YAMLError as error:
        problems.add(f"invalid YAML: {error}")
        problems.raise_if_any()
    return builder.roots


def _parse_yaml_events(text: str) -> Iterator[Any]:
    """Yield the parser's events; PyYAML's own composing would recurse without bound."""
    loader = Loader(text)
    try:
        while loader.check_event():
            yield loader.get_event()
    finally:
        loader.dispose()


def _decode_text(source: str | bytes, problems: FileProblems) -> str:
    if isinstance(source, str):
        text = source.removeprefix("\ufeff")
    else:
        try:
            text = source.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = source[: error.start].decode("utf-8", "replace")
            problems.add(
                f"the file is not UTF-8: byte 0x{source[error.start]:02x} is not valid here",
                _position_at(before, len(before)),
            )
            raise InvalidTemplate(*problems.list_in_file_order()) from None
    if text.lstrip().startswith(("{", "[")):  # JSON writes one character as two escapes
        text = _SURROGATES.sub(_join_surrogate_pair, text)
    return text


def _join_surrogate_pair(pair: re.Match[str]) -> str:
    code = 0x10000 + (int(pair[2], 16) - 0xD800 << 10) + int(pair[3], 16) - 0xDC00
    return f"{pair[1]}\\U{code:08x}"


def _check_characters(text: str, problems: FileProblems) -> None:
    """Reject characters that YAML forbids, and directives."""
    if bad := _UNPRINTABLE.search(text):
        problems.add(
            f"the character U+{ord(bad[0]):04X} is not allowed in YAML;"
            " write it as an escape in double quotes, or remove it",
            _position_at(text, bad.start()),
        )
    elif bad := _DIRECTIVE.search(text):
        problems.add("directives (%) are not supported", _position_at(text, bad.start()))
    problems.raise_if_any()


def _position_at(text: str, index: int) -> SourcePosition:
    return SourcePosition(text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index))


def _describe_syntax_error(
    error: yaml.MarkedYAMLError, text: str, mark: SourcePosition | None
) -> str:
    """Describe a syntax error, with its usual cause."""
    message = ", ".join(part for part in (error.context, error.problem) if part)
    begun = error.context_mark
    if begun and mark and begun.line + 1 != mark.line:
        message += f" (begun on line {begun.line + 1})"
    line = text.split("\n")[mark.line - 1] if mark and mark.line <= text.count("\n") + 1 else ""
    if line.startswith("\t") or line[: mark.column if mark else 0].strip(" ").startswith("\t"):
        return f"{message}: indent this line with spaces, not a tab"
    if error.problem and "mapping values are not allowed" in error.problem:
        return f"{message}: quote a string that contains ': ', or put each key on its own line"
    return f"invalid YAML: {message}"


class _LimitExceeded(Exception):
    """The text exceeds a limit; the problem has been reported."""


class _OpenContainer:
    """A list or mapping that is being read."""

    __slots__ = ("anchor", "key", "merged", "node")

    def __init__(self, node: ListNode | MappingNode, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: ScalarNode | None = None
        self.merged: list[MappingNode] = []


class _NodeBuilder:
    """Builds the nodes of each document from the parser's events."""

    def __init__(self, problems: FileProblems) -> None:
        self.roots: list[Node] = []
        self._problems = problems
        self._stack: list[_OpenContainer] = []
        self._anchors: dict[str, Node | None] = {}  # None: still being read
        self._repeated = 0

    def handle_yaml_event(self, event: Any) -> None:
        """Take the parser's next event."""
        mark = SourcePosition(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            self._report_unsupported_tag(event.tag, mark)
            self._add_to_parent(self._read_scalar(event, mark), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._report_unsupported_tag(event.tag, mark)
            self._open_container(event, mark)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close_container()
        elif isinstance(event, yaml.AliasEvent):
            self._add_aliased_node(str(event.anchor), mark)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors = {}

    def _read_scalar(self, event: Any, mark: SourcePosition) -> ScalarNode:
        """Read one scalar; keys are always text, except the plain `<<`, whose value is None."""
        text: str = event.value
        plain = event.implicit[0]
        broken = "\0" in text
        if broken:
            self._problems.add("a string contains a NUL character (\\0)", mark)
        frame = self._stack[-1] if self._stack else None
        if frame is not None and isinstance(frame.node, MappingNode) and frame.key is None:
            return ScalarNode(None if plain and text == "<<" else text, text, mark)
        if not plain:
            return ScalarNode(text, text, mark, rejected=broken)
        read = parse_plain_scalar(text)
        if read.problem:
            self._problems.add(read.problem, mark)
        return ScalarNode(read.value, text, mark, rejected=bool(read.problem))

    def _report_unsupported_tag(self, tag: str | None, mark: SourcePosition) -> None:
        if tag and tag not in ("!", f"{_CORE}str", f"{_CORE}map", f"{_CORE}seq"):
            shown = tag.replace(_CORE, "!!")
            self._problems.add(f"the tag {shown!r} is not supported; remove it", mark)

    def _open_container(self, event: Any, mark: SourcePosition) -> None:
        if len(self._stack) >= MAX_DEPTH:
            self._abort_reading(f"nested more than {MAX_DEPTH} levels deep", mark)
        if event.anchor:
            self._anchors[event.anchor] = None
        mapping = isinstance(event, yaml.MappingStartEvent)
        self._stack.append(
            _OpenContainer(MappingNode(mark) if mapping else ListNode(mark), event.anchor)
        )

    def _close_container(self) -> None:
        frame = self._stack.pop()
        if isinstance(frame.node, MappingNode):
            for table in frame.merged:
                for key, entry in table.entries.items():
                    frame.node.entries.setdefault(key, entry)
        self._add_to_parent(frame.node, frame.anchor)

    def _add_aliased_node(self, anchor: str, mark: SourcePosition) -> None:
        node = self._anchors.get(anchor)
        if node is None:
            self._abort_reading(
                f"the alias '*{anchor}' refers to the anchor that contains it"
                if anchor in self._anchors
                else f"the alias '*{anchor}' has no matching anchor above it",
                mark,
            )
            return
        self._repeated += node.size
        if self._repeated > MAX_REPEATED:
            self._abort_reading(f"aliases repeat more than {MAX_REPEATED:,} values", mark)
        if len(self._stack) + node.height > MAX_DEPTH:
            self._abort_reading(
                f"nested more than {MAX_DEPTH} levels deep after aliases are expanded", mark
            )
        self._add_to_parent(node, None, mark)

    def _add_to_parent(
        self, node: Node, anchor: str | None, mark: SourcePosition | None = None
    ) -> None:
        """Add a complete node to its parent."""
        if anchor:
            self._anchors[anchor] = node
        if not self._stack:
            if not (isinstance(node, ScalarNode) and node.value is None):
                self.roots.append(node)
            return
        frame = self._stack[-1]
        parent = frame.node
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)
        if isinstance(parent, ListNode):
            parent.nodes.append(node)
        elif frame.key is None:
            frame.key = self._read_key(node, mark)
        else:
            self._add_mapping_entry(frame, parent, frame.key, node)
            frame.key = None

    def _read_key(self, node: Node, mark: SourcePosition | None) -> ScalarNode:
        if isinstance(node, ScalarNode):
            return ScalarNode(node.text, node.text, mark) if mark else node  # mark: of an alias
        self._problems.add("a key must be a string, not a list or a mapping", mark or node.mark)
        return ScalarNode(value=None, text="", mark=None)

    def _add_mapping_entry(
        self, frame: _OpenContainer, table: MappingNode, key: ScalarNode, node: Node
    ) -> None:
        if key.mark is None:  # a key that was rejected
            return
        if key.value is None:
            self._merge_mappings(frame, key, node)
        elif key.text in table.entries:
            first = table.entries[key.text].mark
            where = f"; it is first used on line {first.line}" if first else ""
            self._problems.add(f"the key {key.text!r} is duplicated{where}", key.mark)
        else:
            table.entries[key.text] = MappingEntry(key.mark, node)

    def _merge_mappings(self, frame: _OpenContainer, key: ScalarNode, node: Node) -> None:
        """Add the tables merged by `<<`; the table's own keys take precedence, then the first
        table."""
        tables = node.nodes if isinstance(node, ListNode) else [node]
        for table in tables:
            if isinstance(table, MappingNode):
                frame.merged.append(table)
            else:
                self._problems.add(
                    "the value of '<<' must be a mapping or a list of mappings", key.mark
                )

    def _abort_reading(self, message: str, mark: SourcePosition) -> None:
        self._problems.add(message, mark)
        raise _LimitExceeded
