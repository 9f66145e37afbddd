"""The URL of a PostgreSQL store."""

import re
from typing import NamedTuple, Self, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import asyncpg

from tasker.errors import InvalidSettings

Connection: TypeAlias = (
    "asyncpg.pool.PoolConnectionProxy[asyncpg.Record] | asyncpg.Connection[asyncpg.Record]"
)

_QUOTING = "special characters in a password must be percent-encoded (@ as %40, # as %23)"
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,47}")


class Address(NamedTuple):
    """The address of a store."""

    dsn: str  #: for the driver; may hold a password
    schema: str
    without_password: str  #: for people; holds none

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `postgresql://user:password@host:port/database?schema=tasker`.

        Raises:
            InvalidSettings: The URL is invalid. The message never shows the password.
        """
        try:
            parts = urlsplit(url)
        except ValueError:  # whose text may show a part of the password
            raise InvalidSettings("the host in the store URL has unbalanced brackets") from None
        query = dict(parse_qsl(parts.query))
        schema = query.pop("schema", "tasker")
        if parts.scheme not in ("postgresql", "postgres"):
            raise InvalidSettings(
                f"a PostgreSQL URL must start with postgresql://, not {parts.scheme}://"
            )
        if not _SCHEMA.fullmatch(schema):
            raise InvalidSettings(
                f"schema={schema} in the store URL: a schema name must have 1 to 48 characters"
                " (lower-case letters, digits and _) and must not start with a digit"
            )
        try:
            port = parts.port
        except ValueError:  # whose text may show a part of the password
            raise InvalidSettings(
                f"the port in the store URL must be a number from 0 to 65535; {_QUOTING}"
            ) from None
        if parts.fragment or "@" in parts.path + parts.query or parts.netloc.count("@") > 1:
            raise InvalidSettings(
                f"the store URL contains a '#' or has an '@' after its host; {_QUOTING}"
            )
        where = (parts.hostname or "") + (f":{port}" if port else "")
        user = f"{quote(unquote(parts.username))}@" if parts.username else ""
        rest = urlencode({key: value for key, value in query.items() if "password" not in key})
        return cls(
            dsn=urlunsplit(("postgresql", parts.netloc, parts.path, urlencode(query), "")),
            schema=schema,
            without_password=urlunsplit(("postgresql", user + where, parts.path, rest, "")),
        )

    @property
    def server_settings(self) -> dict[str, str]:
        """The settings of each session: statements outside functions are planned at each execution,
        so their plans fit their values; those that look up rows by their keys have other settings.
        """
        return {
            "search_path": self.schema,
            "plan_cache_mode": "force_custom_plan",
            "jit": "off",
            "application_name": "tasker",
            "idle_in_transaction_session_timeout": "60s",
        }

    async def connect(self, **settings: str) -> "asyncpg.Connection[asyncpg.Record]":
        """Open a connection outside the pool, with additional session settings."""
        return await asyncpg.connect(
            self.dsn, server_settings={**self.server_settings, **settings}, command_timeout=60
        )
