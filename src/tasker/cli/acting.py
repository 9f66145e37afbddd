"""Who acts: what the audit will say, and what approvals go by."""

from typing import Annotated

import typer

Actor = Annotated[
    str | None,
    typer.Option(
        "--as",
        envvar="TASKER_ACTOR",
        metavar="WHO",
        help="Who acts, as an e-mail address; default: this machine's user.",
    ),
]
