"""Templates from files, strings and JSON documents."""

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path

from tasker.errors import DocumentProblem, InvalidTemplate, TooLarge
from tasker.model import JsonObject, Template
from tasker.suggest import did_you_mean_file
from tasker.template.assemble import assemble_template
from tasker.template.document import template_to_document
from tasker.template.json_nodes import build_node
from tasker.template.source import FileProblems, parse_documents

MAX_BYTES = 1 << 20  #: of one file, unless the caller says otherwise

_SUFFIXES = (".yaml", ".yml")


def parse_template(
    source: str | bytes, *, file: str = "<string>", limit: int = MAX_BYTES
) -> Template:
    """Read the only template in a YAML or JSON text, in either dialect.

    Args:
        source: The text, or its bytes in UTF-8.
        file: Its name in problems.
        limit: Its maximum size in bytes.

    Raises:
        InvalidTemplate: The template is invalid; the error has all problems with lines and columns.
        TooLarge: It exceeds `limit`.
    """
    problems = FileProblems(file)
    [template] = _read_templates(source, problems, limit, single=True)
    return template


def load_template(path: str | PathLike[str], *, limit: int = MAX_BYTES) -> Template:
    """Read the only template in a file: see `parse_template`."""
    return parse_template(_read_bytes(Path(path), limit), file=str(path), limit=limit)


def load_templates(
    paths: Iterable[str | PathLike[str]],
    *,
    limit: int = MAX_BYTES,
    on_broken: Callable[[Path, InvalidTemplate], None] | None = None,
) -> list[Template]:
    """Read all templates in files and directories; a file may contain several documents.

    Args:
        paths: Files of any name, and directories, in which all `*.yaml` and `*.yml` files
            at any depth are read in the order of their paths. Each file is read once.
        limit: Maximum size of a file in bytes.
        on_broken: Called for each invalid file, which is skipped; None: invalid files raise an
            error.

    Raises:
        InvalidTemplate: A file is invalid; the error has the problems of all files.
        TooLarge: A file exceeds `limit`.
    """
    templates: list[Template] = []
    wrong: list[DocumentProblem] = []
    for path in _find_template_files(paths):
        try:
            problems = FileProblems(str(path))
            templates += _read_templates(_read_bytes(path, limit), problems, limit)
        except InvalidTemplate as error:
            if on_broken is None:
                wrong += error.problems
            else:
                on_broken(path, error)
    if wrong:
        raise InvalidTemplate(*wrong)
    return templates


def template_from_document(document: JsonObject) -> Template:
    """Read a template from a JSON object, in either dialect.

    Raises:
        InvalidTemplate: The template is invalid; the error has all problems, with paths but without
            lines.
    """
    problems = FileProblems("")
    template = assemble_template(build_node(document, "", 0, problems), problems)
    problems.raise_if_any()
    if template is None:
        raise InvalidTemplate(DocumentProblem("the document is not a template"))
    return template


def validate_and_normalize_template(template: Template) -> Template:
    """Return a template created in Python in the form in which it is read from its document.

    Raises:
        InvalidTemplate: The template is invalid; the error has all problems, with paths but without
            lines.
    """
    return template_from_document(template_to_document(template))


def _read_templates(
    source: str | bytes, problems: FileProblems, limit: int, *, single: bool = False
) -> list[Template]:
    """Read all templates in a text: at least one and, with `single`, exactly one."""
    size = len(source.encode("utf-8", "replace") if isinstance(source, str) else source)
    if size > limit:
        raise TooLarge(f"template {problems.file}", size, limit)
    roots = parse_documents(source, problems)
    if not roots:
        problems.add("the file is empty: it must contain a template")
    if single and len(roots) > 1:
        problems.add(f"expected one template, found {len(roots)}", roots[1].mark)
    templates = [assemble_template(root, problems) for root in roots]
    problems.raise_if_any()
    return [template for template in templates if template is not None]


def _find_template_files(paths: Iterable[str | PathLike[str]]) -> Iterable[Path]:
    """Return the files to read, each once."""
    seen: dict[Path, Path] = {}
    for given in map(Path, paths):
        inside = given.is_dir()
        for path in sorted(given.rglob("*")) if inside else [given]:
            if not inside or (path.suffix in _SUFFIXES and path.is_file()):
                seen.setdefault(path.resolve(), path)
    return seen.values()


def _read_bytes(path: Path, limit: int) -> bytes:
    """Read a file up to its limit."""
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
            if len(content) > limit:
                raise TooLarge(f"template {path}", max(path.stat().st_size, len(content)), limit)
            return content
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        missing = isinstance(error, FileNotFoundError)
        hint = did_you_mean_file(path, _SUFFIXES) if missing else ""
        raise InvalidTemplate(
            DocumentProblem(f"cannot be read: {why}{hint}", file=str(path))
        ) from None
