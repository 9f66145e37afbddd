"""`founding.toml` lists all code of the founding documents."""

import json
import subprocess
import sys

import pytest
import yaml
from sdk.founding.documents import SDK, fenced, folder, listed, text_of

documents = folder()
pytestmark = pytest.mark.skipif(
    documents is None, reason="needs the founding documents (TASKER_FOUNDING_DOCUMENTS)"
)


def test_every_fenced_block_is_listed_once_and_nothing_else() -> None:
    assert documents is not None
    printed = {
        (document.name, *block)
        for document in sorted(documents.glob("*.txt"))
        for block in fenced(document)
    }
    with_fences = {name for name, *_ in printed}
    entries = [
        (block.document, block.first, block.last, block.language)
        for block in listed()
        if block.document in with_fences
    ]
    assert sorted(printed) == sorted(entries)


def test_every_document_is_listed() -> None:
    assert documents is not None
    names = {document.name for document in documents.glob("*.txt")}
    assert names == {block.document for block in listed()}


def test_every_block_that_runs_names_its_test() -> None:
    assert {"executed", "loaded", "illustration"} == {block.how for block in listed()}
    assert [] == [b.place for b in listed() if bool(b.by) == (b.how == "illustration")]


def test_the_named_tests_exist() -> None:
    missing = []
    for by in {block.by for block in listed()}:
        path, _, test = by.partition("::")
        place = SDK.parent / path
        if not place.exists() or (test and f"def {test}(" not in place.read_text()):
            missing.append(by)
    assert [] == missing


def test_an_illustration_is_a_block_that_no_parser_accepts() -> None:
    """Illustrations in a language are refused by its parser; all other blocks are accepted."""
    refused = [block.place for block in listed() if not parses(text_of(block), block.language)]
    in_a_language = [
        block.place
        for block in listed()
        if block.how == "illustration" and block.language != "text"
    ]
    assert in_a_language == refused


def parses(text: str, language: str) -> bool:
    """Return whether a parser of the language accepts a text; True where none is at hand."""
    match language:
        case "python":
            command = [sys.executable, "-c", "import ast, sys; ast.parse(sys.stdin.read())"]
        case "bash":
            command = ["bash", "-n"]
        case "json":
            json.loads(text)
            return True
        case "yaml":
            yaml.safe_load(text)
            return True
        case _:
            return True
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0
