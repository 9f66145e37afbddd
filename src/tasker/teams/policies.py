"""Namespace policies from files: YAML, JSON or TOML in, `NamespacePolicy` out.

    namespaces:
      shared:
        owner_team: platform
        contact_email: platform-team@growthcorp.com
        description: Cross-team workflows and utilities
        requires_approval: true
        approvers: [sarah@growthcorp.com, marcus@growthcorp.com]

All problems of a file are reported at once: for YAML with line and column, for TOML only with the
path, because its reader does not report positions.
"""

import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from tasker.errors import DocumentProblem, InvalidPolicy, InvalidTemplate, TooLarge
from tasker.model import Json, JsonObject
from tasker.teams.checks import policy_problems
from tasker.teams.model import NamespacePolicy
from tasker.template.json_nodes import node_of
from tasker.template.reading import Fields, Keys, Value, read_flag, read_text
from tasker.template.source import Node, Problems, read_documents

MAX_BYTES = 1 << 20  #: of one file
_FILE = Keys(what="a policy file", allowed=("namespaces",))
_POLICY = Keys(
    what="a namespace",
    allowed=(
        "owner_team",
        "contact_email",
        "description",
        "requires_approval",
        "approvers",
        "http_hosts",
    ),
    aliases={"owner": "owner_team", "contact": "contact_email"},
    refused={
        "name": "the key above it is the name",
        "approver": "write 'approvers', a list",
    },
)


def load_policies(path: str | PathLike[str]) -> list[NamespacePolicy]:
    """Read the policies of a file (`.toml`, otherwise YAML) in the file's order.

    Raises:
        InvalidPolicy: The file is invalid; the error has all problems.
        TooLarge: It has more than `MAX_BYTES`.
    """
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise InvalidPolicy(
            DocumentProblem(f"cannot be read: {error.strerror}", file=str(path))
        ) from None
    return parse_policies(source, file=str(path), toml=Path(path).suffix == ".toml")


def parse_policies(
    source: str | bytes, *, file: str = "<string>", toml: bool = False
) -> list[NamespacePolicy]:
    """Read policies from text: see `load_policies`."""
    raw = source.encode("utf-8", "replace") if isinstance(source, str) else source
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"policy file {file}", len(raw), MAX_BYTES)
    problems = Problems(file)
    root = _parse_toml(raw, problems) if toml else _parse_yaml(source, problems)
    namespaces = Value(root, "", problems).fields(_FILE).required("namespaces")
    policies = [] if namespaces is None else _read_policies(namespaces)
    _raise_problems(problems)
    return policies


def policies_of(section: JsonObject, *, file: str = "") -> list[NamespacePolicy]:
    """Read the policies of a `namespaces` section that was read from elsewhere.

    Raises:
        InvalidPolicy: The section is invalid; the error has all problems, with paths but without
            lines.
    """
    problems = Problems(file)
    root = node_of(section, "namespaces", 0, problems)
    policies = _read_policies(Value(root, "namespaces", problems))
    _raise_problems(problems)
    return policies


def _parse_yaml(source: str | bytes, problems: Problems) -> Node:
    try:
        roots = read_documents(source, problems)
    except InvalidTemplate as error:
        raise InvalidPolicy(*error.problems) from None
    if len(roots) > 1:
        problems.add(f"one document was expected, found {len(roots)}", roots[1].mark)
    if not roots:
        problems.add("the file is empty: it must contain policies")
        _raise_problems(problems)
    return roots[0]


def _parse_toml(raw: bytes, problems: Problems) -> Node:
    try:
        document: Mapping[str, Json] = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidPolicy(DocumentProblem("the file is not UTF-8", file=problems.file)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidPolicy(DocumentProblem(f"invalid TOML: {error}", file=problems.file)) from None
    return node_of(document, "", 0, problems)


def _raise_problems(problems: Problems) -> None:
    if problems.entries:
        raise InvalidPolicy(*problems.in_file_order())


def _read_policies(namespaces: Value) -> list[NamespacePolicy]:
    entries = namespaces.table("a mapping of namespaces to their policies")
    return [_read_policy(name, value) for name, value in entries.items()]


def _read_policy(namespace: str, value: Value) -> NamespacePolicy:
    """Return one policy; report its problems at their positions."""
    fields = value.fields(_POLICY)
    approvers = _read_texts(fields, "approvers", "a list of e-mail addresses")
    hosts = _read_texts(fields, "http_hosts", "a list of hosts")
    policy = NamespacePolicy(
        namespace=namespace,
        owner_team=fields.read("owner_team", read_text) or "",
        contact_email=fields.read("contact_email", read_text) or "",
        description=fields.read("description", read_text) or "",
        requires_approval=fields.read("requires_approval", read_flag) or False,
        approvers=tuple(address for _, address in approvers),
        http_hosts=tuple(host for _, host in hosts),
    )
    lists = {"approvers": approvers, "http_hosts": hosts}
    for field, message, item in policy_problems(policy):
        place = fields.get(field) if item is None else lists[field][item][0]
        (place or value).refuse(message)
    return policy


def _read_texts(fields: Fields, key: str, what: str) -> list[tuple[Value, str]]:
    """Return the strings of a list, each with its position."""
    items = fields.items(key, what)
    return [(item, text) for item in items if (text := read_text(item)) is not None]
