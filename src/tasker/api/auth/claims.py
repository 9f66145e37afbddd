"""Reads a principal from the claims of a token. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasker.api.auth.credentials import NOT_A_NAME, NotAuthenticated, is_valid_principal_name
from tasker.api.auth.principal import Principal
from tasker.settings import AuthSettings
from tasker.teams.model import ALL_NAMESPACES
from tasker.teams.permissions import ADMIN, Permission, expand_scope

_MOST = 1000  #: permissions, roles, namespaces of one token


def principal_of_claims(
    claims: Mapping[str, Any],
    settings: AuthSettings,
    roles: Mapping[str, frozenset[Permission]],
) -> Principal:
    """Return the principal of a token.

    Args:
        claims: The claims of a verified token.
        settings: Settings that name the claims to read.
        roles: The permissions of each role.

    Raises:
        NotAuthenticated: A claim has the wrong type.
    """
    named = settings.claims
    scopes = [_read_claim_words(claims, name) for name in named.permissions]
    has_scopes = any(words is not None for words in scopes)
    claimed = _read_claim_words(claims, named.roles)
    if claimed is None and not has_scopes and settings.default_roles:
        claimed = frozenset(settings.default_roles)
    unspecified = claimed is None and not has_scopes
    held = claimed or frozenset()
    spaces = _token_namespaces(claims, settings, admin=ADMIN in held)
    team = find_claim(claims, named.team)
    if team is not None and not (isinstance(team, str) and is_valid_principal_name(team)):
        raise NotAuthenticated("invalid", f"the claim {named.team} is {NOT_A_NAME}")
    return Principal(
        name=_principal_name(claims, settings),
        permissions=None if unspecified else _granted_permissions(scopes, held, roles),
        namespaces=spaces,
        roles=held,
        groups=_read_claim_words(claims, named.groups) or frozenset(),
        team=team,
        admin=ADMIN in held and spaces is None,
        credential="token",
        claims=claims,
    )


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim by its name or its dotted path, or None if it is absent."""
    if name in claims:
        return claims[name]
    here: Any = claims
    for part in name.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return here


def _read_claim_words(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """Return the words of a list or a space-separated string, or None if the claim is absent."""
    value = find_claim(claims, name)
    if value is None:
        return None
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise NotAuthenticated(
            "invalid", f"the claim {name} is neither a list of strings nor a string"
        )
    if len(words) > _MOST:
        raise NotAuthenticated(
            "invalid", f"the claim {name} has {len(words):,} values; the limit is {_MOST:,}"
        )
    return frozenset(words)


def _granted_permissions(
    scopes: Iterable[frozenset[str] | None],
    held: Iterable[str],
    roles: Mapping[str, frozenset[Permission]],
) -> frozenset[Permission]:
    """Return the permissions of scopes and roles; unknown ones are ignored."""
    granted = (expand_scope(word) for words in scopes for word in words or ())
    bundled = (roles.get(role, frozenset()) for role in held)
    return frozenset().union(*granted, *bundled)


def _token_namespaces(
    claims: Mapping[str, Any], settings: AuthSettings, *, admin: bool
) -> frozenset[str] | None:
    """Return the token's namespaces, or None for all (admin tokens without the claim)."""
    spaces = _read_claim_words(claims, settings.claims.namespaces)
    if spaces is None:
        spaces = frozenset({ALL_NAMESPACES} if admin else settings.default_namespaces)
    return None if ALL_NAMESPACES in spaces else spaces


def _principal_name(claims: Mapping[str, Any], settings: AuthSettings) -> str:
    """Return the verified e-mail address, or the subject if there is no such address."""
    subject = find_claim(claims, settings.claims.subject)
    if not isinstance(subject, str) or not is_valid_principal_name(subject):
        raise NotAuthenticated(
            "invalid", f"the claim {settings.claims.subject} is missing or is {NOT_A_NAME}"
        )
    email = find_claim(claims, settings.claims.email)
    verified = claims.get("email_verified")
    trusted = verified is True or (verified is None and settings.trust_email)
    if trusted and isinstance(email, str) and "@" in email and is_valid_principal_name(email):
        return email
    return subject
