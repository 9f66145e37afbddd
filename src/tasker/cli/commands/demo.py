"""`tasker demo`: plays the story in `examples/growthcorp`."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from tasker.cli.app import Invocation, register_command
from tasker.cli.exits import ExitCode
from tasker.cli.render.json import reserve_stdout_for_json
from tasker.errors import NotFound
from tasker.handlers.importing import ModuleOrigin

app = typer.Typer(add_completion=False)


@register_command(app, "demo", store=None, level=logging.ERROR, fast=True)  # steps fail on purpose
async def run_demo(
    invocation: Invocation,
    store_url: Annotated[
        str,
        typer.Option(
            "--store",
            metavar="URL",
            help=(
                "Store for the demo's tasks. TASKER_STORE is ignored, because it may name a "
                "production store."
            ),
            rich_help_panel="Common options",
        ),
    ] = "sqlite:.tasker/demo.db",
    serve: Annotated[
        bool,
        typer.Option(
            "--serve",
            metavar="",
            help="Serve the web UI instead, with a stream of example tasks, until Ctrl-C.",
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="N",
            help="Port for --serve; default: 3000 if it is free, otherwise any free port.",
        ),
    ] = None,
) -> ExitCode:
    """Run example workflows of five teams, with a worker crash and a retry by an operator.

    The demo takes about 15 seconds and can be repeated. Exit code: 0 if all results are as
    expected, otherwise 1.
    """
    folder = find_example_folder()
    if serve:
        live = ModuleOrigin("growthcorp.live", root=str(folder.parent)).load()
        await live.serve(store_url, invocation.stdout_console, port)
        return ExitCode.DONE
    story = ModuleOrigin("growthcorp.__main__", root=str(folder.parent)).load()
    with reserve_stdout_for_json(invocation.as_json):
        played = await story.play(store_url, invocation.text_console)
    if invocation.as_json:
        invocation.print_json(story.as_json(played))
    else:
        story.render(invocation.stdout_console, played)
    return ExitCode.FAILED if played.wrong else ExitCode.DONE


def find_example_folder() -> Path:
    """Return the example's folder in the installed package, or in the repository.

    Raises:
        NotFound: The folder is in neither.
    """
    package = Path(__file__).resolve().parents[2]
    for root in (package, package.parents[1]):
        folder = root / "examples" / "growthcorp"
        if (folder / "__main__.py").is_file():
            return folder
    raise NotFound(f"the Tasker installation at {package} lacks the example 'growthcorp'")
