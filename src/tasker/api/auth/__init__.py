"""Authentication and authorization; exports what authenticators and coordinators need.

credentials    reads the credential of a request
keyring        API keys: from the store to a principal
tokens, jwks   JSON Web Tokens, and the keys that verify them
claims         from a token to a principal
authenticators authenticate by custom credentials coordinators decide what a principal may do
authorizer combines these for one server
"""

from tasker.api.auth.authenticators import Authenticator, AuthRequest
from tasker.api.auth.coordinators import (
    Coordinator,
    PermissionCoordinator,
    Resource,
    TeamCoordinator,
)
from tasker.api.auth.principal import Principal

__all__ = [
    "AuthRequest",
    "Authenticator",
    "Coordinator",
    "PermissionCoordinator",
    "Principal",
    "Resource",
    "TeamCoordinator",
]
