"""The REST API. `create_app` builds the application; `docs/api.md` describes it."""

from tasker.api.app import create_app

__all__ = ["create_app"]
