"""Writes templates as YAML."""

from typing import Any

import yaml

from tasker.model import Template
from tasker.template.document import template_to_document
from tasker.template.scalars import is_read_as_text

try:
    from yaml import CSafeDumper as Dumper
except ImportError:  # PyYAML built without libyaml; slower, and otherwise the same
    from yaml import SafeDumper as Dumper  # type: ignore[assignment]


def dump_yaml(template: Template) -> str:
    """Write a template as YAML that reads back as the same template."""
    return yaml.dump(
        template_to_document(template),
        Dumper=_PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )


class _PlainDumper(Dumper):
    """Writes values in full, and quotes every string that would be read as another type."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _quote_ambiguous_string(dumper: Any, text: str) -> Any:
    style = None if is_read_as_text(text) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_PlainDumper.add_representer(str, _quote_ambiguous_string)
