"""Tasker for assistants: a server of the Model Context Protocol over a client.

It has the permissions of its client. A change takes two calls: a preview, which returns
its effects and a token, and the action with that token.
"""

from tasker.mcp.server import make_server

__all__ = ["make_server"]
