"""From a token's claims to who makes a request. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from tasker.api.auth.credentials import NotAuthenticated
from tasker.api.auth.principal import Principal
from tasker.settings import AuthSettings
from tasker.teams.model import ALL_NAMESPACES
from tasker.teams.permissions import ADMIN, Permission, meant

_LONGEST_NAME = 255
_MOST = 1000  #: permissions, roles, namespaces of one token


def principal_of_claims(
    claims: Mapping[str, Any],
    settings: AuthSettings,
    roles: Mapping[str, frozenset[Permission]],
) -> Principal:
    """Tell who a token stands for.

    Args:
        claims: Of a token that was verified.
        settings: Where the facts are.
        roles: What roles bundle.

    Raises:
        NotAuthenticated: A claim is not of the kind that it must be.
    """
    named = settings.claims
    told = [_words(claims, name) for name in named.permissions]
    has = _words(claims, named.roles)
    if has is None and not any(words is not None for words in told):
        has = frozenset(settings.default_roles) if settings.default_roles else None
    nothing_said = has is None and all(words is None for words in told)
    has = has or frozenset()
    spaces = _namespaces(claims, settings, admin=ADMIN in has)
    team = found(claims, named.team)
    if team is not None and not (isinstance(team, str) and _is_name(team)):
        raise NotAuthenticated("invalid", f"the claim {named.team} is no name of a team")
    return Principal(
        name=_name(claims, settings),
        permissions=None if nothing_said else _permissions(told, has, roles),
        namespaces=spaces,
        roles=has,
        team=team,
        admin=ADMIN in has and spaces is None,
        credential="token",
        claims=claims,
    )


def found(claims: Mapping[str, Any], name: str) -> Any:
    """Tell a claim by its name, or by the path to it; None where there is none."""
    if name in claims:
        return claims[name]
    here: Any = claims
    for part in name.split("."):
        if not isinstance(here, Mapping) or part not in here:
            return None
        here = here[part]
    return here


def _words(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """Read a list, or a text with words separated by spaces; None where nothing is said."""
    value = found(claims, name)
    if value is None:
        return None
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise NotAuthenticated("invalid", f"the claim {name} is neither a list of texts nor a text")
    if len(words) > _MOST:
        raise NotAuthenticated("invalid", f"the claim {name} has {len(words):,} parts")
    return frozenset(words)


def _permissions(
    told: Iterable[frozenset[str] | None],
    has: Iterable[str],
    roles: Mapping[str, frozenset[Permission]],
) -> frozenset[Permission]:
    """Tell the permissions of words and roles; those that are none of ours give nothing."""
    written = (meant(word) for words in told for word in words or ())
    bundled = (roles.get(role, frozenset()) for role in has)
    return frozenset().union(*written, *bundled)


def _namespaces(
    claims: Mapping[str, Any], settings: AuthSettings, *, admin: bool
) -> frozenset[str] | None:
    """Tell where it all holds. Admins whose token tells nothing of that are so everywhere."""
    said = _words(claims, settings.claims.namespaces)
    if said is None:
        said = frozenset({ALL_NAMESPACES} if admin else settings.default_namespaces)
    return None if ALL_NAMESPACES in said else said


def _name(claims: Mapping[str, Any], settings: AuthSettings) -> str:
    """Tell the verified address; else the subject."""
    subject = found(claims, settings.claims.subject)
    if not isinstance(subject, str) or not _is_name(subject):
        raise NotAuthenticated("invalid", f"the claim {settings.claims.subject} is no name")
    email = found(claims, settings.claims.email)
    verified = claims.get("email_verified")
    trusted = verified is True or (verified is None and settings.trust_email)
    if trusted and isinstance(email, str) and "@" in email and _is_name(email):
        return email
    return subject


def _is_name(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_NAME and text.isprintable() and text == text.strip()
