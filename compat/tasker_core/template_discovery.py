"""Finds templates, and the handlers that they name."""

import os
from pathlib import Path
from typing import Any

import yaml

_ROOTS = (
    "Cargo.toml",
    "pyproject.toml",
    ".git",
    "Gemfile",
    "package.json",
    "tasker-core.code-workspace",
)  #: files at the top of a project
_LEVELS = 10


class TemplatePath:
    """Where templates are."""

    @staticmethod
    def find_template_config_directory() -> Path | None:
        """Return the directory of templates, or None.

        It is `TASKER_TEMPLATE_PATH`, else `config/tasks` of the workspace in `WORKSPACE_PATH`, of
        the project, or of the current directory.
        """
        given = os.environ.get("TASKER_TEMPLATE_PATH")
        if given and Path(given).is_dir():
            return Path(given)
        here = Path.cwd()
        parents = [here, *here.parents][: _LEVELS + 1]
        projects = [
            folder for folder in parents if any((folder / name).exists() for name in _ROOTS)
        ]
        workspace = os.environ.get("WORKSPACE_PATH")
        places = [Path(workspace)] if workspace else []
        for folder in (*places, *projects, here):
            if (folder / "config" / "tasks").is_dir():
                return folder / "config" / "tasks"
        return None


def discover_template_files(directory: Path | str) -> list[Path]:
    """Return the templates in a directory, at any depth, sorted."""
    folder = Path(directory)
    if not folder.is_dir():
        return []
    return sorted([*folder.glob("**/*.yaml"), *folder.glob("**/*.yml")])


class TemplateParser:
    """Reads what handler registration needs of templates."""

    @staticmethod
    def _read(file: Path | str) -> dict[str, Any]:
        try:
            data = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return data if isinstance(data, dict) else {}

    @classmethod
    def extract_handler_callables(cls, file: Path | str) -> list[str]:
        """Return the handlers that a template names; none of a broken file."""
        return cls.extract_handlers_from_template(cls._read(file))

    @staticmethod
    def extract_handlers_from_template(data: dict[str, Any]) -> list[str]:
        """Return the handlers that a template names."""
        steps = data.get("steps")
        handlers = [
            step.get("handler")
            for step in (steps if isinstance(steps, list) else [])
            if isinstance(step, dict)
        ]
        named = [each.get("callable") if isinstance(each, dict) else each for each in handlers]
        return [name for name in named if isinstance(name, str) and name]

    @classmethod
    def extract_template_metadata(cls, file: Path | str) -> dict[str, Any]:
        """Return name, namespace, version, description, path and handlers of a template."""
        data = cls._read(file)
        return {
            "name": data.get("name"),
            "namespace": data.get("namespace_name"),
            "version": data.get("version"),
            "description": data.get("description"),
            "file_path": str(file),
            "handlers": cls.extract_handlers_from_template(data),
        }


class HandlerDiscovery:
    """Lists the handlers that the templates of a directory name."""

    @staticmethod
    def discover_all_handlers(directory: Path | str) -> list[str]:
        """Return their names, sorted."""
        files = discover_template_files(directory)
        names = {name for file in files for name in TemplateParser.extract_handler_callables(file)}
        return sorted(names)

    @staticmethod
    def discover_template_metadata(directory: Path | str) -> list[dict[str, Any]]:
        """Return the metadata of all templates."""
        files = discover_template_files(directory)
        return [TemplateParser.extract_template_metadata(file) for file in files]

    @classmethod
    def discover_handlers_by_namespace(cls, directory: Path | str) -> dict[str, list[str]]:
        """Return the names of handlers by namespace, sorted."""
        grouped: dict[str, set[str]] = {}
        for about in cls.discover_template_metadata(directory):
            grouped.setdefault(about["namespace"] or "default", set()).update(about["handlers"])
        return {namespace: sorted(names) for namespace, names in grouped.items()}
