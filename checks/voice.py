"""Reports wording that CONTRIBUTING's voice section rules out; run by `make check`.

Reads docstrings, names, string literals and comments of Python, comments of SQL, and prose of
Markdown. Exit code 1 when anything matches.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("src", "compat", "tests", "bench", "examples", "docs", "checks", "mutants")
NAMES = frozenset({"told", "found", "said", "meant"})
DOCSTRING = re.compile(r"\s*(Tells?|Says?)\b")
PHRASES = re.compile(
    r"(?<!\w)(who asks|whoever asks|what is no|is none of|there is none|none of ours"
    r"|is no (?:setting|task|step|key)\b|be told|are told|is told|anew|of which nothing"
    r"|in earnest|passed over)\b",
    re.IGNORECASE,
)
#: wording of pages and of messages in src
PROSE = re.compile(
    r"(?<!\w)(also if|also when|also while|of yours|(?<!there )is no (?!longer\b|one\b)[a-z]+"
    r"|most (?:steps|tasks|calls|outcomes) that|answer(?:s|ed)?(?: with)? [1-5][0-9][0-9]|texts"
    r"|an? text (?:of|that|by|such|with)|(?:go|goes|going) on|from its beginning"
    r"|the audit(?! log)|(?:has|have) (?:up to|more than) (?:[0-9]|\{)[^ ]* (?:bytes|[KM]iB|char)"
    r"|holds? no worker|holds? up|somebody|everybody|in sight|as many as may be)\b",
    re.IGNORECASE,
)
IGNORED = frozenset({"checks/voice.py", "docs/glossary.md", "CONTRIBUTING.md"})


def main() -> int:
    findings = [finding for path in files() for finding in check(path)]
    for finding in findings:
        print(finding)
    if findings:
        print(f"{len(findings)} findings; CONTRIBUTING.md, 'Write', says what to write instead")
    return 1 if findings else 0


def files() -> Iterator[Path]:
    """List the files to check, by name."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    for path in sorted([*paths, *ROOT.glob("*.md")]):
        inside = str(path.relative_to(ROOT))
        if (
            path.suffix in {".py", ".sql", ".md"}
            and inside not in IGNORED
            and "seeds" not in inside
        ):
            yield path


def check(path: Path) -> Iterator[str]:
    """Yield `file:line: what is wrong` for each match in a file."""
    text = path.read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        for match in PHRASES.finditer(line):
            yield f"{path.relative_to(ROOT)}:{number}: '{match[0]}'"
    tree = ast.parse(text) if path.suffix == ".py" else None
    for number, line in prose(path, text, tree):
        for match in PROSE.finditer(line):
            yield f"{path.relative_to(ROOT)}:{number}: '{match[0]}'"
    if tree is not None:
        for number, message in names_and_docstrings(tree):
            yield f"{path.relative_to(ROOT)}:{number}: {message}"


def prose(path: Path, text: str, tree: ast.AST | None) -> Iterator[tuple[int, str]]:
    """Yield the lines of a page, or the string literals of a module in src, docstrings excepted."""
    if path.suffix == ".md":
        yield from enumerate(text.splitlines(), start=1)
    elif tree is not None and path.is_relative_to(ROOT / "src"):
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docstrings
            ):
                yield node.lineno, " ".join(node.value.split())


def names_and_docstrings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and message of each name and docstring that is ruled out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in NAMES:
            yield node.lineno, f"variable '{node.id}'"
        elif isinstance(node, ast.arg) and node.arg in NAMES:
            yield node.lineno, f"parameter '{node.arg}'"
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node) or ""
            if DOCSTRING.match(docstring):
                line = getattr(node, "lineno", 1)
                yield line, f"docstring begins with '{docstring.split()[0]}'"


if __name__ == "__main__":
    sys.exit(main())
