"""`tasker template ...`"""

from tests.cli.conftest import Here

FLOW = """
    from tasker import Workflow

    flow = Workflow("shop.count", version="2.0.0", description="Counts")


    @flow.step
    def count(things: list[str]) -> int:
        return len(things)
"""


def test_templates_are_registered_and_listed_by_version(tasker: Here) -> None:
    text = (tasker.project.root / "sell.yaml").read_text()
    tasker.project.write("ten.yaml", text.replace("1.0.0", "10.0.0"))
    tasker.project.write("nine.yaml", text.replace("1.0.0", "9.0.0"))
    tasker.project.write("flow.py", FLOW)

    ran = tasker("template", "register", ".", "--handlers", "flow.py")
    again = tasker("template", "register", "ten.yaml", "--json")
    listed = tasker("template", "list", "--json").document["templates"]

    assert 4 == ran.out.count("registered: shop.")
    assert ["unchanged"] == [one["outcome"] for one in again.document["templates"]]
    assert [("count", "2.0.0"), ("sell", "1.0.0"), ("sell", "9.0.0"), ("sell", "10.0.0")] == [
        (one["name"], one["version"]) for one in listed
    ]
    assert "shop.count" in tasker("template", "list", "--name", "count").out
    assert "no templates match" in tasker("template", "list", "-n", "none").err


def test_a_version_with_different_content_is_refused_and_the_others_are_registered(
    tasker: Here,
) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code
    text = (tasker.project.root / "sell.yaml").read_text()
    tasker.project.write("sell.yaml", text.replace("at once", "later"))
    tasker.project.write("new.yaml", text.replace("1.0.0", "1.1.0"))

    ran = tasker("template", "register", "sell.yaml", "new.yaml")
    replaced = tasker("template", "register", "sell.yaml", "--replace")

    assert 5 == ran.code
    assert "registered: shop.sell@1.1.0" in ran.out
    assert "rejected: Handler for task 'sell' already exists" in ran.err
    assert 0 == replaced.code


def test_an_error_in_a_file_is_reported_with_its_position(tasker: Here) -> None:
    text = (tasker.project.root / "sell.yaml").read_text()
    tasker.project.write("bad.yaml", text.replace("[charge, pack]", "[charge, pck]"))

    ran = tasker("template", "register", "bad.yaml")

    assert (2, "") == ran[:2]
    assert "error: bad.yaml:13:28: the step 'ship' depends on 'pck'" in ran.err
    assert "did you mean 'pack'?" in ran.err


def test_a_template_is_printed_as_yaml_that_loads_again(tasker: Here) -> None:
    tasker("template", "register", "sell.yaml")
    tasker.project.write("printed.yaml", tasker("template", "show", "shop.sell").out)

    again = tasker("template", "register", "printed.yaml", "--json").document["templates"]

    assert ["unchanged"] == [one["outcome"] for one in again]
    assert "sell" == tasker("template", "show", "shop.sell", "--json").document["name"]


def test_a_graph_is_drawn_for_a_file_a_workflow_or_a_stored_version(tasker: Here) -> None:
    tasker.project.write("flow.py", FLOW)
    tasker("template", "register", "sell.yaml")

    for reference in ("sell.yaml", "shop.sell"):
        drawn = tasker("template", "draw", reference).out
        assert "shop.sell@1.0.0" in drawn
        assert "├─╮\n● │  charge" in drawn
    assert "● count" in tasker("template", "draw", "shop.count", "-H", "flow.py").out.replace(
        "  ", " "
    )


def test_a_graph_can_be_written_as_mermaid(tasker: Here) -> None:
    lines = tasker("template", "draw", "sell.yaml", "--mermaid").out.splitlines()

    assert "flowchart TD" in lines
    assert '    s1["reserve"]' in lines
    assert ["    s1 --> s2", "    s1 --> s3", "    s2 --> s4", "    s3 --> s4"] == lines[-4:]


def test_a_graph_can_be_written_as_json(tasker: Here) -> None:
    drawn = tasker("template", "draw", "sell.yaml", "--json").document

    assert "shop.sell@1.0.0" == drawn["template"]
    assert {"reserve": [], "charge": ["reserve"]}.items() <= drawn["dependencies"].items()


def test_a_template_that_runs_a_task_of_another_namespace_is_shown_and_checked(
    tasker: Here,
) -> None:
    tasker.project.write(
        "order.yaml",
        """
        name: order
        namespace: shop
        version: 1.0.0
        steps:
          - name: file
            task: {template: archive.store@^1, context: {order: "{input.order}"}}
        """,
    )
    store = """
        name: store
        namespace: archive
        version: 1.0.0
        steps: [{name: save}]
        """
    tasker.project.write("store.yaml", store)
    tasker("template", "register", "order.yaml")

    for _ in range(2):  # whether or not the other template exists
        assert "template: archive.store@^1" in tasker("template", "show", "shop.order").out
        assert "file" in tasker("template", "draw", "shop.order").out
        assert 0 == tasker("check", "-T", "order.yaml", "--store", "sqlite").code
        tasker("template", "register", "store.yaml")


def test_an_unknown_template_exits_with_2_and_a_suggestion(tasker: Here) -> None:
    tasker("template", "register", "sell.yaml")

    ran = tasker("template", "show", "shop.sel")

    assert 2 == ran.code
    assert "template shop.sel not found; did you mean 'shop.sell'?" in ran.err


def test_registering_without_files_is_refused(tasker: Here) -> None:
    assert 2 == tasker("template", "register").code


def test_a_refused_registration_lists_the_differences(tasker: Here) -> None:
    assert 0 == tasker("template", "register", "sell.yaml").code
    source = (tasker.project.root / "sell.yaml").read_text()
    tasker.project.write("sell.yaml", source.replace("initial_delay: 0.01", "initial_delay: 2"))
    refused = tasker("template", "register", "sell.yaml")

    assert 5 == refused.code
    assert "template shop.sell@1.0.0 differs in $.steps.charge.retry.initial_delay: 0.01 -> 2" in (
        refused.err
    )
