"""Templates from files, directories and texts."""

from pathlib import Path

import pytest
from tests.template.problems import problems

from tasker.errors import InvalidTemplate, TooLarge
from tasker.template.load import load_template, load_templates, parse_template

TEXT = "name: {}\nsteps: [{{name: b}}]\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_directories_are_read_recursively(tmp_path: Path) -> None:
    """In the order of paths; other files are ignored, and each file is read once."""
    write(tmp_path / "b.yml", TEXT.format("b"))
    first = write(tmp_path / "a" / "a.yaml", TEXT.format("a"))
    write(tmp_path / "notes.txt", "not a template")

    templates = load_templates([tmp_path, first, str(tmp_path / "a")])

    assert [template.name for template in templates] == ["a", "b"]


def test_a_file_given_by_name_is_read_with_any_suffix(tmp_path: Path) -> None:
    """JSON, for one."""
    path = write(tmp_path / "a.json", '{"name": "a", "steps": [{"name": "b"}]}')

    assert [template.name for template in load_templates([path])] == ["a"]
    assert load_template(str(path)).name == "a"


def test_a_file_may_hold_several_documents(tmp_path: Path) -> None:
    """`load_template` wants one; empty documents do not count."""
    path = write(tmp_path / "two.yaml", f"---\n{TEXT.format('a')}---\n{TEXT.format('c')}---\n")

    assert [template.name for template in load_templates([path])] == ["a", "c"]
    with pytest.raises(InvalidTemplate) as raised:
        load_template(path)
    assert str(raised.value) == f"{path}:5:1: expected one template, found 2"


def test_the_problems_of_all_files_are_reported(tmp_path: Path) -> None:
    """One run is enough to correct a directory."""
    wrong = write(tmp_path / "a.yaml", "name: a\n")
    write(tmp_path / "b.yaml", TEXT.format("b"))
    absent = tmp_path / "c.yaml"

    with pytest.raises(InvalidTemplate) as raised:
        load_templates([tmp_path, absent])

    assert str(raised.value).splitlines() == [
        f"{wrong}:1:1: 'steps' is missing: a template needs at least one step",
        f"{absent}: cannot be read: No such file or directory",
    ]


def test_an_unreadable_template_file_is_reported(tmp_path: Path) -> None:
    """Directories and names that cannot exist included."""
    with pytest.raises(InvalidTemplate) as raised:
        load_template(tmp_path)
    assert str(raised.value) == f"{tmp_path}: cannot be read: Is a directory"
    with pytest.raises(InvalidTemplate, match="cannot be read: embedded null byte"):
        load_template("a\0b")


def test_large_files_are_refused_without_being_read(tmp_path: Path) -> None:
    """The limit can be raised where a template is that large."""
    path = write(tmp_path / "a.yaml", TEXT.format("a") + "#" * 2_000_000)

    with pytest.raises(TooLarge, match=r"a\.yaml is 2,000,027 bytes; the limit is 1,048,576"):
        load_template(path)
    with pytest.raises(TooLarge):
        load_templates([path])
    assert load_template(path, limit=1 << 22).name == "a"
    with pytest.raises(TooLarge):
        parse_template("é" * 600_000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"name: a\nsteps: \xff", "2:8 the file is not UTF-8: byte 0xff is not valid here"),
        ("é: a".encode("latin-1"), "1:1 the file is not UTF-8: byte 0xe9 is not valid here"),
        ("name: a".encode("utf-16"), "1:1 the file is not UTF-8: byte 0xff is not valid here"),
        (
            "name: a\ndescription: \x07",
            "2:14 the character U+0007 is not allowed in YAML; write it as an escape in double"
            " quotes, or remove it",
        ),
        (
            "name: \ud800",
            "1:7 the character U+D800 is not allowed in YAML; write it as an escape in double"
            " quotes, or remove it",
        ),
    ],
)
def test_invalid_characters_are_reported_with_their_position(
    text: str | bytes, problem: str
) -> None:
    """Each is reported with its place."""
    assert problems(text) == [problem]


def test_a_byte_order_mark_is_ignored() -> None:
    """Windows writes one."""
    assert parse_template(b"\xef\xbb\xbf" + TEXT.format("a").encode()).name == "a"
    assert parse_template("\ufeff" + TEXT.format("a")).name == "a"


def test_columns_are_counted_in_characters() -> None:
    """Multi-byte characters count once."""
    assert problems("name: a\nsteps: [{name: b, description: 'ééé', retry: 5}]") == [
        "2:46 must be a mapping with the keys of a retry, found the number 5"
    ]
