"""What a store does for teams: policies, decisions, audit, API keys, figures.

A part of `tasker.store.protocol.Store`, whose first lines hold here too.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from tasker.analytics.model import Bottlenecks, Performance, Utilization, Window
from tasker.model import TemplateName, TemplateVersion
from tasker.teams.model import (
    ApiKey,
    ApiKeyDigest,
    NamespaceInfo,
    NamespacePolicy,
    NewApiKey,
    TeamEvent,
)

if TYPE_CHECKING:
    from tasker.store.protocol import AuditNote


class TeamStore(Protocol):
    """Who owns what, who may do what, and who did it."""

    # -------------------------------------------------------------- namespaces

    async def namespaces(self) -> list[NamespaceInfo]:
        """List namespaces that have a policy or a template, and `default`, by name."""
        ...

    async def policy(self, namespace: str) -> NamespacePolicy | None:
        """Read the policy of a namespace; None where nobody declared one."""
        ...

    async def put_policy(self, policy: NamespacePolicy, act: "AuditNote") -> NamespacePolicy:
        """Declare the policy of a namespace, in place of the one it had.

        The same policy again is a no-op, and no entry of the audit. Template versions
        keep the status they have: an approval that is asked for from now on is asked for
        of what is registered from now on, and what waits goes on waiting.

        Raises:
            InvalidInput: A name or an address is none; an approval is required of nobody.
        """
        ...

    # --------------------------------------------------------------- templates

    async def decide_template(
        self, name: TemplateName, *, approve: bool, act: "AuditNote"
    ) -> TemplateVersion:
        """Approve or reject the version that waits for approval.

        Approved, it takes new tasks from then on, in place of the content that the version
        had before. Nobody approves what they registered themselves; they may withdraw it by
        rejecting it. In a namespace whose policy asks for no approval any more, anybody may
        decide.

        Raises:
            NotFound: Nothing has that name.
            WrongState: No version waits.
            NotAnApprover: Somebody else must decide.
            InvalidInput: A rejection without a reason.
        """
        ...

    async def retire_template(self, name: TemplateName, act: "AuditNote") -> TemplateVersion:
        """Take an approved version out of use: it gets no new tasks, those it has run on.

        Raises: NotFound, WrongState.
        """
        ...

    async def restore_template(self, name: TemplateName, act: "AuditNote") -> TemplateVersion:
        """Take a retired version into use again. Raises: NotFound, WrongState."""
        ...

    async def template_statuses(
        self, *, namespace: str | None = None, name: str | None = None
    ) -> list[TemplateVersion]:
        """List template versions of every status by (namespace, name, registration).

        A version is there several times when content of it was rejected, or waits to take
        the place of what is in force.
        """
        ...

    # ------------------------------------------------------------------- audit

    async def team_audit(
        self,
        *,
        namespace: str | None = None,
        visible: Collection[str] | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[TeamEvent]:
        """List what was done to policies, template versions and API keys.

        Args:
            namespace: Only what belongs to it; None: everything, API keys included.
            visible: Only what belongs to one of these; None: everything.
            after: Only entries older than the one of that id.
            limit: The most entries.

        Returns:
            Newest first.
        """
        ...

    # ---------------------------------------------------------------- API keys

    async def add_api_key(self, key: NewApiKey, act: "AuditNote") -> ApiKey:
        """Keep an API key. Its secret is never given to a store, only what it hashes to.

        Raises:
            InvalidInput: A part of it cannot be stored, or names no namespace.
        """
        ...

    async def find_api_key(self, prefix: str) -> ApiKeyDigest | None:
        """Read the key of a prefix, revoked or expired ones too, and its digest."""
        ...

    async def list_api_keys(self) -> list[ApiKey]:
        """List all keys, newest first, revoked ones included."""
        ...

    async def revoke_api_key(self, prefix: str, act: "AuditNote") -> ApiKey:
        """End a key, from now on and for ever. Raises: NotFound, WrongState (it is revoked)."""
        ...

    async def touch_api_key(self, prefix: str) -> None:
        """Note that a key was used now; writes once a minute at most."""
        ...

    # --------------------------------------------------------------- analytics

    async def performance(self, window: Window) -> Performance:
        """Tell how the tasks of a window fared.

        Of more tasks or attempts than `tasker.analytics.model` names, the newest are looked at.
        Work that is under way does not wait for it: one analysis at a time reads from a
        snapshot, and stops after some seconds.

        Raises:
            StoreUnavailable: It took too long, too.
        """
        ...

    async def bottlenecks(
        self, window: Window, *, limit: int = 10, min_executions: int = 3
    ) -> Bottlenecks:
        """Tell what holds the tasks of a window up; bounded as `performance`.

        Args:
            window: Which tasks.
            limit: The most entries of each list.
            min_executions: Steps and templates that ran less often are left out.
        """
        ...

    async def backlog(self) -> Utilization:
        """Tell how busy the store is now: steps that are due, due later, and running."""
        ...
