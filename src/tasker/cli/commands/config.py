"""`tasker config show`: the settings of servers and workers."""

from typing import Any

import orjson

from tasker.cli.app import Invocation, make_command_group, register_command
from tasker.cli.config import ConfigFile, load_config

app = make_command_group("Show the settings of servers and workers.")


@register_command(app, "show", store=None)
def show_settings(invocation: Invocation, config: ConfigFile = None) -> None:
    """Show the effective settings, with secrets hidden."""
    settings = load_config(config, {}).to_redacted_dict()
    if invocation.as_json:
        invocation.print_json(settings)
        return
    top = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    for table, values in (("", top), *_list_settings_tables(settings)):
        if table:
            invocation.stdout_console.print(f"\n[{table}]")
        for name, value in values.items():
            if not isinstance(value, dict):
                line = f"{name} = {orjson.dumps(value).decode()}"
                invocation.stdout_console.print(
                    f"# {name}" if value is None else line, soft_wrap=True
                )


def _list_settings_tables(
    settings: dict[str, Any], parent: str = ""
) -> list[tuple[str, dict[str, Any]]]:
    """Return the tables of settings with their names, each before its subtables."""
    tables = []
    for name, value in settings.items():
        if isinstance(value, dict):
            path = f"{parent}{name}"
            tables += [(path, value), *_list_settings_tables(value, f"{path}.")]
    return tables
