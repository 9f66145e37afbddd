"""Authentication and authorization; exports the names that a coordinator needs.

credentials    reads the credential of a request
keyring        API keys: from the store to a principal
tokens, jwks   JSON Web Tokens, and the keys that verify them
claims         from a token to a principal
coordinators   decide what a principal may do
authorizer     combines these for one server
"""

from tasker.api.auth.coordinators import (
    Coordinator,
    PermissionCoordinator,
    Resource,
    TeamCoordinator,
)
from tasker.api.auth.principal import Principal

__all__ = [
    "Coordinator",
    "PermissionCoordinator",
    "Principal",
    "Resource",
    "TeamCoordinator",
]
