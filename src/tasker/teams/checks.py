"""Rules for namespace policies from files and programs."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasker.codec import UNSTORABLE
from tasker.errors import InvalidInput
from tasker.model import NAMESPACE, NAMESPACE_RULE
from tasker.teams.model import NamespacePolicy

MAX_APPROVERS = 100
MAX_HTTP_HOSTS = 100
_EMAIL = re.compile(r"[^@\s,;<>()\"]+@[^@\s,;<>()\".]+(\.[^@\s,;<>()\".]+)+")
_LONGEST_EMAIL = 254
_LONGEST_HOST = 259
_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"\*|((\*\.)?{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:[1-9][0-9]{{0,4}})?")
_LONGEST = {"owner_team": 200, "description": 10_000}


class PolicyProblem(NamedTuple):
    """A problem of a policy's field, or of one of its items."""

    field: str
    message: str
    item: int | None = None  #: index in a list


def check_policy(policy: NamespacePolicy) -> None:
    """Raise an error unless a policy is valid, by the same rules as for policies in files.

    Raises:
        InvalidInput: The policy is invalid; the error has the first problem and its path.
    """
    for field, message, item in find_policy_problems(policy):
        path = f"$.{field}" if item is None else f"$.{field}[{item}]"
        raise InvalidInput(f"policy of {policy.namespace[:60]!r}: {message}", path=path)


def find_policy_problems(policy: NamespacePolicy) -> Iterator[PolicyProblem]:
    """Yield the problems of a policy, in the order of its fields."""
    if not NAMESPACE.fullmatch(policy.namespace):
        message = f"{policy.namespace[:60]!r} is not a valid namespace name: {NAMESPACE_RULE}"
        yield PolicyProblem("namespace", message)
    for field, most in _LONGEST.items():
        written: str = getattr(policy, field)
        if len(written) > most:
            message = f"has {len(written):,} characters; the maximum is {most:,}"
            yield PolicyProblem(field, message)
        elif UNSTORABLE.search(written):
            yield PolicyProblem(field, "contains a NUL character or an unpaired surrogate")
    if policy.contact_email and (message := _find_email_problem(policy.contact_email)):
        yield PolicyProblem("contact_email", message)
    if policy.requires_approval and not policy.approvers:
        message = "requires_approval needs approvers: a list of at least one e-mail address"
        yield PolicyProblem("requires_approval", message)
    if len(policy.approvers) > MAX_APPROVERS:
        message = f"there are more than {MAX_APPROVERS} approvers"
        yield PolicyProblem("approvers", message, MAX_APPROVERS)
    seen: set[str] = set()
    for index, address in enumerate(policy.approvers[:MAX_APPROVERS]):
        if message := _find_email_problem(address):
            yield PolicyProblem("approvers", message, index)
        elif address.casefold() in seen:
            yield PolicyProblem("approvers", f"{address} is duplicated", index)
        seen.add(address.casefold())
    yield from _find_host_problems(policy.http_hosts)


def _find_host_problems(hosts: Sequence[str]) -> Iterator[PolicyProblem]:
    if len(hosts) > MAX_HTTP_HOSTS:
        message = f"there are more than {MAX_HTTP_HOSTS} hosts"
        yield PolicyProblem("http_hosts", message, MAX_HTTP_HOSTS)
    for index, host in enumerate(hosts[:MAX_HTTP_HOSTS]):
        if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
            message = (
                f"{host[:60]!r} is not a valid host; write api.example.com, api.example.com:8443,"
                " *.example.com or *, in lower case and without https://"
            )
            yield PolicyProblem("http_hosts", message, index)


def _find_email_problem(address: str) -> str:
    """Return the problem of an e-mail address, or an empty string."""
    if len(address) <= _LONGEST_EMAIL and _EMAIL.fullmatch(address) and address.isprintable():
        return ""
    return f"{address[:60]!r} is not an e-mail address; use the form name@example.com"
