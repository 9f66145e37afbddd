"""Authentication and authorisation. What a coordinator of your own needs is named here.

credentials    what a request brings
keyring        API keys: from the store to a principal
tokens, jwks   JSON Web Tokens, and the keys that verify them
claims         from a token to a principal
coordinators   what a principal may do
gate           all of that, for one server
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
