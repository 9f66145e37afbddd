"""Masks what the caller of a request may not see in its response."""

import asyncio
from typing import Any

from tasker.api.auth.authorizer import Authorizer
from tasker.api.auth.coordinators import Resource
from tasker.api.auth.principal import ANONYMOUS, Principal
from tasker.client.masking import SensitiveDataFinder
from tasker.masking import CLOSED, DataOwner, find_data_owners, mask_response
from tasker.teams.permissions import PAYLOADS_READ


class PermissionMasker:
    """Masks responses for the caller of one request.

    Args:
        principal: The caller.
        authorizer: Decides whether it may read payloads.
        sensitive: Finds sensitive data.
    """

    __slots__ = ("_authorizer", "_sensitive", "owner", "principal")

    def __init__(
        self, principal: Principal, authorizer: Authorizer, sensitive: SensitiveDataFinder
    ) -> None:
        self.principal = principal
        self.owner = DataOwner()
        """The task or template named in the request's path."""
        self._authorizer = authorizer
        self._sensitive = sensitive

    async def mask(self, content: Any, *, large: bool = False) -> Any:
        """Return a response as the caller may see it; the same object if it may see all of it.

        A `large` response is processed outside the event loop.
        """
        default = self.owner
        owners = (
            await asyncio.to_thread(lambda: set(find_data_owners(content, default)))
            if large
            else set(find_data_owners(content, default))
        )
        rules = await self._sensitive.find_masking_rules(owners)
        for owner in owners:
            if not await self._may_read_payloads(owner):
                rules[owner] = CLOSED
        if all(rule.masks_nothing for rule in rules.values()):
            return content
        if large:
            return await asyncio.to_thread(mask_response, content, rules, default)
        return mask_response(content, rules, default)

    async def sees_task_unmasked(self) -> bool:
        """Return whether nothing of the task at the request's path is masked."""
        rules = await self._sensitive.find_masking_rules({self.owner})
        return rules[self.owner].masks_nothing and await self._may_read_payloads(self.owner)

    async def _may_read_payloads(self, owner: DataOwner) -> bool:
        if self.principal is ANONYMOUS:
            return True
        target = Resource(owner.namespace, owner.name, owner.version)
        return await self._authorizer.allows(self.principal, PAYLOADS_READ, target)
