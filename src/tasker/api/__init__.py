"""The REST API. `create_app` makes it; `docs/api.md` tells what it answers."""

from tasker.api.app import create_app

__all__ = ["create_app"]
