"""`tasker generate ...`"""

from tests.cli.conftest import Here


def test_generated_types_are_written_and_compared(tasker: Here) -> None:
    command = ("generate", "types", "sell.yaml", "--language", "typescript")
    printed = tasker(*command)
    file = tasker.project.root / "types.ts"

    missing = tasker(*command, "--output", str(file), "--check")
    written = tasker(*command, "--output", str(file))
    current = tasker(*command, "--output", str(file), "--check")
    file.write_text("// changed by hand")
    changed = tasker(*command, "--output", str(file), "--check")

    assert printed.out.startswith("// Generated from shop.sell@1.0.0 by `tasker generate types`.")
    assert [1, 0, 0, 1] == [ran.code for ran in (missing, written, current, changed)]
    assert f"{file} is out of date" in changed.err.replace("\n", "")
    assert 2 == tasker(*command, "--check").code


def test_handlers_are_generated_for_steps_without_one_and_overwrite_nothing(tasker: Here) -> None:
    tasker.project.write("some.py", "from tasker import handler\n\n@handler\ndef pack(): pass\n")
    command = ("generate", "handlers", "sell.yaml", "-l", "rust")
    file = tasker.project.root / "handlers.rs"

    everything = tasker(*command)
    others = tasker(*command, "--handlers", "some.py")
    first = tasker(*command, "--output", str(file))
    second = tasker(*command, "--output", str(file))

    assert '.handler("pack", pack)' in everything.out
    assert '.handler("pack", pack)' not in others.out
    assert [0, 1] == [first.code, second.code]
    assert "is not overwritten" in second.err
