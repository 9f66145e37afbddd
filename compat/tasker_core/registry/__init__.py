"""Handlers by name, and how they are found."""

from tasker_core.registry.handler_registry import HandlerRegistry
from tasker_core.registry.resolvers import (
    BaseResolver,
    ClassLookupResolver,
    ExplicitMappingResolver,
    HandlerDefinition,
    MethodDispatchWrapper,
    RegistryResolver,
    ResolutionError,
    ResolverChain,
    ResolverNotFoundError,
)

Registry = HandlerRegistry

__all__ = [
    "BaseResolver",
    "ClassLookupResolver",
    "ExplicitMappingResolver",
    "HandlerDefinition",
    "HandlerRegistry",
    "MethodDispatchWrapper",
    "Registry",
    "RegistryResolver",
    "ResolutionError",
    "ResolverChain",
    "ResolverNotFoundError",
]
