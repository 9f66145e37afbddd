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
from tasker.teams.checks import find_policy_problems
from tasker.teams.model import NamespacePolicy
from tasker.template.json_nodes import build_node
from tasker.template.reading import (
    AllowedKeys,
    LocatedValue,
    MappingFields,
    read_boolean,
    read_text,
)
from tasker.template.source import FileProblems, Node, parse_documents

MAX_BYTES = 1 << 20  #: of one file
_FILE = AllowedKeys(what="a policy file", allowed=("namespaces",))
_POLICY = AllowedKeys(
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
    rejected={
        "name": "write the namespace's name as the key of the policy",
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
    problems = FileProblems(file)
    root = _parse_toml(raw, problems) if toml else _parse_yaml(source, problems)
    namespaces = LocatedValue(root, "", problems).read_fields(_FILE).get_required("namespaces")
    policies = [] if namespaces is None else _read_policies(namespaces)
    _raise_if_problems(problems)
    return policies


def parse_policies_section(section: JsonObject, *, file: str = "") -> list[NamespacePolicy]:
    """Read the policies of a `namespaces` section that was read from elsewhere.

    Raises:
        InvalidPolicy: The section is invalid; the error has all problems, with paths but without
            lines.
    """
    problems = FileProblems(file)
    root = build_node(section, "namespaces", 0, problems)
    policies = _read_policies(LocatedValue(root, "namespaces", problems))
    _raise_if_problems(problems)
    return policies


def _parse_yaml(source: str | bytes, problems: FileProblems) -> Node:
    try:
        roots = parse_documents(source, problems)
    except InvalidTemplate as error:
        raise InvalidPolicy(*error.problems) from None
    if len(roots) > 1:
        problems.add(f"expected one document, found {len(roots)}", roots[1].mark)
    if not roots:
        problems.add("the file is empty: it must contain policies")
        _raise_if_problems(problems)
    return roots[0]


def _parse_toml(raw: bytes, problems: FileProblems) -> Node:
    try:
        document: Mapping[str, Json] = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidPolicy(DocumentProblem("the file is not UTF-8", file=problems.file)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidPolicy(DocumentProblem(f"invalid TOML: {error}", file=problems.file)) from None
    return build_node(document, "", 0, problems)


def _raise_if_problems(problems: FileProblems) -> None:
    if problems.entries:
        raise InvalidPolicy(*problems.list_in_file_order())


def _read_policies(namespaces: LocatedValue) -> list[NamespacePolicy]:
    entries = namespaces.mapping_values("a mapping of namespaces to their policies")
    return [_read_policy(name, value) for name, value in entries.items()]


def _read_policy(namespace: str, value: LocatedValue) -> NamespacePolicy:
    """Return one policy; report its problems at their positions."""
    fields = value.read_fields(_POLICY)
    approvers = _read_located_texts(fields, "approvers", "a list of e-mail addresses")
    hosts = _read_located_texts(fields, "http_hosts", "a list of hosts")
    policy = NamespacePolicy(
        namespace=namespace,
        owner_team=fields.read("owner_team", read_text) or "",
        contact_email=fields.read("contact_email", read_text) or "",
        description=fields.read("description", read_text) or "",
        requires_approval=fields.read("requires_approval", read_boolean) or False,
        approvers=tuple(address for _, address in approvers),
        http_hosts=tuple(host for _, host in hosts),
    )
    lists = {"approvers": approvers, "http_hosts": hosts}
    for field, message, item in find_policy_problems(policy):
        place = fields.get(field) if item is None else lists[field][item][0]
        (place or value).report_problem(message)
    return policy


def _read_located_texts(
    fields: MappingFields, key: str, what: str
) -> list[tuple[LocatedValue, str]]:
    """Return the strings of a list, each with its position."""
    items = fields.list_items(key, what)
    return [(item, text) for item in items if (text := read_text(item)) is not None]
