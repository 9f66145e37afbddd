"""Serves the web UI: its page, its built files and redirects to it."""

from tasker.web.routes import add_web_ui

__all__ = ["add_web_ui"]
