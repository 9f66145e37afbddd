"""Rules for registration and review that both stores share."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from tasker.errors import (
    HttpHostNotAllowed,
    InvalidInput,
    NotAnApprover,
    NotFound,
    TaskRegistrationError,
    TemplateNotApproved,
    WrongStatus,
)
from tasker.model import (
    NAMESPACE,
    NAMESPACE_RULE,
    TemplateId,
    TemplateName,
    TemplateStatus,
    TemplateVersion,
)
from tasker.store.protocol import AuditNote
from tasker.store.registry import registration_conflict_error, unknown_template_error
from tasker.teams.model import ALL_NAMESPACES, ApiKey, NamespacePolicy, NewApiKey
from tasker.teams.permissions import expand_scopes
from tasker.template.http import UrlHost

APPROVED = TemplateStatus.APPROVED
PENDING = TemplateStatus.PENDING_REVIEW
REJECTED = TemplateStatus.REJECTED
RETIRED = TemplateStatus.RETIRED

_RANK = (APPROVED, RETIRED, PENDING, REJECTED)  #: distinguishes equal contents


class VersionWithDigest(NamedTuple):
    """A template version that was not replaced, and the digest of its content."""

    version: TemplateVersion
    digest: str


class RegistrationPlan(NamedTuple):
    """What registering a template does: which version it finds, or which ones it replaces."""

    status: TemplateStatus  #: of the version, new or not
    same: TemplateId | None  #: id of the version with the same content
    replaces: tuple[TemplateId, ...] = ()
    before: TemplateStatus | None = None  #: status of the version it replaces


def plan_registration(
    name: TemplateName,
    digest: str,
    there: Sequence[VersionWithDigest],
    policy: NamespacePolicy | None,
    *,
    replace: bool,
) -> RegistrationPlan:
    """Decide what registering a template does.

    Existing content keeps its status. Rejected content does not block others. If the policy
    requires a review, the approved content stays in use until the new version is approved.

    Raises:
        TaskRegistrationError: The version has different content that must not be replaced.
    """
    same = [best.version for best in there if best.digest == digest]
    if same:
        best = min(same, key=lambda version: _RANK.index(version.status))
        return RegistrationPlan(best.status, best.id)
    others = [best.version for best in there if best.version.status is not REJECTED]
    for other in others:
        if other.status is RETIRED:
            raise TaskRegistrationError(
                f"template {name} is retired, so its content cannot change: give the changed"
                " template a new version"
            )
        if not replace:
            raise registration_conflict_error(
                name, other.registered_by, waiting=other.status is PENDING
            )
    needed = policy is not None and policy.requires_approval
    status = PENDING if needed else APPROVED
    replaced = [other for other in others if status is APPROVED or other.status is PENDING]
    before = min((other.status for other in others), key=_RANK.index, default=None)
    return RegistrationPlan(status, None, tuple(other.id for other in replaced), before)


def check_http_hosts(
    name: TemplateName, hosts: Sequence[tuple[str, UrlHost]], policy: NamespacePolicy | None
) -> None:
    """Raise HttpHostNotAllowed if a step calls a host that the policy does not list."""
    for step, host in hosts:
        if policy is None or not policy.allows_http(host.name, host.port):
            allowed = policy.http_hosts if policy is not None else ()
            raise HttpHostNotAllowed(str(name), name.namespace, step, str(host), allowed)


class ReviewPlan(NamedTuple):
    """What a review changes: the new status of a version, and the versions that it replaces."""

    version: TemplateVersion
    status: TemplateStatus
    replaces: tuple[TemplateId, ...]


def plan_review(
    name: TemplateName,
    there: Sequence[VersionWithDigest],
    policy: NamespacePolicy | None,
    act: AuditNote,
    *,
    approve: bool,
) -> ReviewPlan:
    """Decide what a review of the pending version changes, if the actor may review it.

    Authors may withdraw their version by rejecting it, but not approve it. If the policy no
    longer requires reviews, anyone may review a pending version.

    Raises: NotFound, WrongStatus (no version is pending), NotAnApprover, InvalidInput (a
    rejection without a reason).
    """
    action = "approve" if approve else "reject"
    waiting = _require_version_with_status(name, there, action, PENDING)
    own = act.actor.casefold() == waiting.registered_by.casefold()
    if policy is not None and policy.requires_approval:
        if own and approve:
            raise NotAnApprover(
                f"{act.actor} registered {name}, so another approver must approve it:"
                f" {_other_approvers_text(policy, act.actor)}"
            )
        if not own and act.actor.casefold() not in map(str.casefold, policy.approvers):
            raise NotAnApprover(
                f"{act.actor} may not {action} {name}; the approvers of {name.namespace} are"
                f" {', '.join(policy.approvers)}"
            )
    if not approve and not act.reason.strip():
        raise InvalidInput("a rejection needs a reason", path="$.reason")
    if not approve:
        return ReviewPlan(waiting, REJECTED, ())
    in_force = [known.version.id for known in there if known.version.status in (APPROVED, RETIRED)]
    return ReviewPlan(waiting, APPROVED, tuple(in_force))


def find_version_to_retire_or_restore(
    name: TemplateName, there: Sequence[VersionWithDigest], *, restore: bool
) -> TemplateVersion:
    """Return the version to retire or restore. Raises: NotFound, WrongStatus."""
    if restore:
        return _require_version_with_status(name, there, "restore", RETIRED)
    return _require_version_with_status(name, there, "retire", APPROVED)


def not_approved_error(
    version: TemplateVersion, policy: NamespacePolicy | None
) -> TemplateNotApproved:
    """Return the error for creating a task of a version that accepts no tasks."""
    return TemplateNotApproved(
        version.full_name, version.status, policy.approvers if policy else ()
    )


# ----------------------------------------------------------- policies and API keys


def compared_policy_columns(policy: NamespacePolicy) -> dict[str, Any]:
    """Return the columns of a policy that are compared: all except who stored it and when."""
    columns = asdict(policy)
    del columns["updated_by"], columns["updated_at"]
    return columns


def is_same_policy(one: NamespacePolicy, other: NamespacePolicy) -> bool:
    return compared_policy_columns(one) == compared_policy_columns(other)


def policy_to_audit_document(policy: NamespacePolicy | None) -> dict[str, Any] | None:
    """Return a policy in the form that the audit log stores; None for no policy."""
    if policy is None:
        return None
    columns = compared_policy_columns(policy)
    del columns["namespace"]
    return columns


def key_to_audit_document(key: ApiKey) -> dict[str, Any]:
    """Return an API key in the form that the audit log stores."""
    return {
        "name": key.name,
        "scopes": list(key.scopes),
        "namespaces": list(key.namespaces),
        "roles": list(key.roles),
        "groups": list(key.groups),
        "handlers": list(key.handlers),
        "expires_at": key.expires_at.isoformat() if key.expires_at else None,
    }


def check_new_api_key(key: NewApiKey) -> None:
    """Raise InvalidInput unless the key can be stored and used."""
    if not key.name.strip() or len(key.name) > 200:
        raise InvalidInput("an API key needs a name of at most 200 characters", path="$.name")
    for path, texts in (
        ("name", (key.name,)),
        ("scopes", key.scopes),
        ("namespaces", key.namespaces),
        ("roles", key.roles),
        ("groups", key.groups),
        ("handlers", key.handlers),
    ):
        for text in texts:
            if not text or len(text) > 200 or not text.isprintable():
                raise InvalidInput(
                    f"$.{path}: must have 1 to 200 printable characters, not {text[:60]!r}",
                    path=f"$.{path}",
                )
    expand_scopes(key.scopes, path="$.scopes")
    for space in key.namespaces:
        if space != ALL_NAMESPACES and not NAMESPACE.fullmatch(space):
            raise InvalidInput(
                f"{space!r} is neither * nor a valid namespace name: {NAMESPACE_RULE}",
                path="$.namespaces",
            )
    if key.expires_at is not None and key.expires_at.tzinfo is None:
        raise InvalidInput("expires_at needs a time zone", path="$.expires_at")


def unknown_key_error(prefix: str) -> NotFound:
    return NotFound(f"API key {prefix} not found")


def _require_version_with_status(
    name: TemplateName, there: Sequence[VersionWithDigest], action: str, wanted: TemplateStatus
) -> TemplateVersion:
    """Return the version with the wanted status. Raises NotFound, WrongStatus."""
    if not there:
        raise unknown_template_error(name)
    for candidate in there:
        if candidate.version.status is wanted:
            return candidate.version
    newest = min(
        (candidate.version for candidate in reversed(there)),
        key=lambda version: _RANK.index(version.status),
    )
    raise WrongStatus(f"template {name}", newest.status, action, {wanted})


def _other_approvers_text(policy: NamespacePolicy, actor: str) -> str:
    names = [name for name in policy.approvers if name.casefold() != actor.casefold()]
    return " or ".join(names) or "the policy has no other approver; add one"
