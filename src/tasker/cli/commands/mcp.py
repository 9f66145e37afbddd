"""`tasker mcp`: serves the Model Context Protocol on stdin and stdout."""

import typer

from tasker.cli.app import Invocation, register_command
from tasker.mcp import make_server
from tasker.model import AccessChannel

app = typer.Typer(add_completion=False)


@register_command(app, "mcp", acts=True)
async def serve_mcp(invocation: Invocation) -> None:
    """Serve the Model Context Protocol on stdin and stdout, for AI assistants.

    The server has the permissions of its store or API key. Every change needs the token of
    a preview.
    """
    invocation.via = AccessChannel.MCP
    async with invocation.open_client(operates=True) as client:
        await make_server(client).run_stdio_async()
