"""Templates: YAML in two dialects, JSON and Python in; the same frozen `Template` out.

    load      files and texts                  source -> reading -> core | rails -> assemble
    document  the form templates are stored in: the core dialect as JSON
    stored    the same read back, without the checks that it passed
    schema    contexts and results against the JSON Schemas that templates carry

All problems of a template are reported at once, each with file, line and column.
"""

from tasker.template.attributes import attributes_of, title_of
from tasker.template.document import digest, dump_yaml, from_document, to_document
from tasker.template.load import load_template, load_templates, parse_template
from tasker.template.schema import (
    check_result,
    examine_input,
    is_quick,
    prepare_input,
)
from tasker.template.stored import from_stored

__all__ = [
    "attributes_of",
    "check_result",
    "digest",
    "dump_yaml",
    "examine_input",
    "from_document",
    "from_stored",
    "is_quick",
    "load_template",
    "load_templates",
    "parse_template",
    "prepare_input",
    "title_of",
    "to_document",
]
