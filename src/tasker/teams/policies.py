"""Namespace policies from files: YAML, JSON or TOML in, `NamespacePolicy` out.

    namespaces:
      shared:
        owner_team: platform
        contact_email: platform-team@growthcorp.com
        description: Cross-team workflows and utilities
        requires_approval: true
        approvers: [sarah@growthcorp.com, marcus@growthcorp.com]

All problems of a file are reported at once: of YAML with line and column, of TOML, whose
reader tells no places, with the path.
"""

import re
import tomllib
from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from tasker.errors import InvalidInput, InvalidPolicy, InvalidTemplate, Problem, TooLarge
from tasker.model import Json, JsonObject
from tasker.teams.model import NamespacePolicy
from tasker.template.document import node_of
from tasker.template.parts import NAMESPACE, NAMESPACE_RULE
from tasker.template.reading import Fields, Keys, Value, text
from tasker.template.source import Node, Problems, Scalar, documents

MAX_BYTES = 1 << 20  #: of one file
MAX_APPROVERS = 100

_EMAIL = re.compile(r"[^@\s,;<>()\"]+@[^@\s,;<>()\".]+(\.[^@\s,;<>()\".]+)+")
_LONGEST = {"owner_team": 200, "contact_email": 254, "description": 10_000}
_FILE = Keys(what="a policy file", allowed=("namespaces",))
_POLICY = Keys(
    what="a namespace",
    allowed=("owner_team", "contact_email", "description", "requires_approval", "approvers"),
    aliases={"owner": "owner_team", "contact": "contact_email"},
    refused={
        "name": "the key above it is the name",
        "approver": "write 'approvers', a list",
    },
)


def load_policies(path: str | PathLike[str]) -> list[NamespacePolicy]:
    """Read the policies of a file, `.toml` or else YAML, in its order.

    Raises:
        InvalidPolicy: Has all problems.
        TooLarge: It has more than `MAX_BYTES`.
    """
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        raise InvalidPolicy(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    return parse_policies(source, file=str(path), toml=Path(path).suffix == ".toml")


def parse_policies(
    source: str | bytes, *, file: str = "<string>", toml: bool = False
) -> list[NamespacePolicy]:
    """Read the policies of a text: see `load_policies`."""
    raw = source.encode("utf-8", "replace") if isinstance(source, str) else source
    if len(raw) > MAX_BYTES:
        raise TooLarge(f"policy file {file}", len(raw), MAX_BYTES)
    problems = Problems(file)
    root = _toml(raw, problems) if toml else _yaml(source, problems)
    namespaces = Value(root, "", problems).fields(_FILE).required("namespaces")
    policies = [] if namespaces is None else _policies(namespaces)
    _check(problems)
    return policies


def policies_of(section: JsonObject, *, file: str = "") -> list[NamespacePolicy]:
    """Read the policies of a `namespaces` section that was read from elsewhere.

    Raises:
        InvalidPolicy: Has all problems, with paths but without lines.
    """
    problems = Problems(file)
    root = node_of(section, "namespaces", 0, problems)
    policies = _policies(Value(root, "namespaces", problems))
    _check(problems)
    return policies


def check_policy(policy: NamespacePolicy) -> None:
    """Check a policy that was not read from a file by the same rules.

    Raises:
        InvalidInput: With the first thing that is wrong, and its path.
    """
    written: dict[str, Json] = {
        "owner_team": policy.owner_team,
        "contact_email": policy.contact_email,
        "description": policy.description,
        "requires_approval": policy.requires_approval,
        "approvers": list(policy.approvers),
    }
    if not NAMESPACE.fullmatch(policy.namespace):
        raise InvalidInput(_name_problem(policy.namespace), path="$.namespace")
    problems = Problems("")
    _policy(policy.namespace, Value(node_of(written, "", 0, problems), "", problems))
    for problem in problems.entries[:1]:
        path = f"$.{problem.path.removeprefix('.')}" if problem.path else "$"
        raise InvalidInput(f"policy of {policy.namespace}: {problem.message}", path=path)


def _yaml(source: str | bytes, problems: Problems) -> Node:
    try:
        roots = documents(source, problems)
    except InvalidTemplate as error:
        raise InvalidPolicy(*error.problems) from None
    if len(roots) > 1:
        problems.add(f"one document was expected, found {len(roots)}", roots[1].mark)
    if not roots:
        problems.add("there are no policies here: the file is empty")
        _check(problems)
    return roots[0]


def _toml(raw: bytes, problems: Problems) -> Node:
    try:
        document: Mapping[str, Json] = tomllib.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InvalidPolicy(Problem("the file is not UTF-8", file=problems.file)) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidPolicy(Problem(f"this is not TOML: {error}", file=problems.file)) from None
    return node_of(document, "", 0, problems)


def _check(problems: Problems) -> None:
    if problems.entries:
        raise InvalidPolicy(*problems.in_file_order())


def _policies(namespaces: Value) -> list[NamespacePolicy]:
    policies = []
    for name, value in namespaces.table("a mapping of namespaces to their policies").items():
        if not NAMESPACE.fullmatch(name):
            value.refuse(_name_problem(name))
        policies.append(_policy(name, value))
    return policies


def _policy(namespace: str, value: Value) -> NamespacePolicy:
    """Return one policy without its invalid parts, which are reported."""
    fields = value.fields(_POLICY)
    requires_approval = fields.flag("requires_approval") or False
    approvers = tuple(_approvers(fields))
    if requires_approval and not fields.items("approvers"):
        required = fields.get("requires_approval")
        (required or value).refuse(
            "requires_approval needs approvers: a list of at least one e-mail address"
        )
    return NamespacePolicy(
        namespace=namespace,
        owner_team=_text(fields, "owner_team"),
        contact_email=_contact(fields),
        description=_text(fields, "description"),
        requires_approval=requires_approval,
        approvers=approvers,
    )


def _text(fields: Fields, key: str) -> str:
    name = fields.text(key) or ""
    value, most = fields.get(key), _LONGEST[key]
    if value is not None and len(name) > most:
        value.refuse(f"has {len(name):,} characters; the most are {most:,}")
    return name


def _contact(fields: Fields) -> str:
    value = fields.get("contact_email")
    if value is None or (isinstance(value.node, Scalar) and value.node.value == ""):
        return ""
    return _email(value) or ""


def _approvers(fields: Fields) -> list[str]:
    names: list[str] = []
    values = fields.items("approvers", "a list of e-mail addresses")
    if len(values) > MAX_APPROVERS:
        values[MAX_APPROVERS].refuse(f"there are more than {MAX_APPROVERS} approvers")
        values = values[:MAX_APPROVERS]
    for value in values:
        address = _email(value)
        if address is None:
            continue
        if address.casefold() in (other.casefold() for other in names):
            value.refuse(f"{address} is duplicated")
        names.append(address)
    return names


def _email(value: Value) -> str | None:
    name = text(value)
    if name is None:
        return None
    if len(name) > _LONGEST["contact_email"] or not _EMAIL.fullmatch(name):
        value.refuse(f"{name[:60]!r} is not an e-mail address; write one as name@example.com")
        return None
    return name


def _name_problem(name: str) -> str:
    return f"{name[:60]!r} is not the name of a namespace: {NAMESPACE_RULE}"
