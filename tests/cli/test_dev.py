"""`tasker dev`: handlers and templates are taken up as they change."""

import re
import signal

import httpx
from tests.cli.conftest import Here, Project

CREATE = ("task", "create", "shop.sell", "-c", '{"sku": "mug"}')
DEV = ("dev", "-H", "shop.py", "-T", "sell.yaml", "--no-ui")


def _change(project: Project, name: str, old: str, new: str) -> None:
    path = project.root / name
    path.write_text(path.read_text().replace(old, new))


def test_changes_take_effect_and_errors_do_not_stop_the_worker(tasker: Here) -> None:
    project = tasker.project
    with project.starting(*DEV) as dev:
        dev.until("ready: 4 handlers, 1 template (shop.sell@1.0.0)")
        tasker(*CREATE)
        dev.until("complete after")

        _change(project, "shop.py", "parcel", "box")
        dev.until("changed: shop.py")
        dev.until("ready:")
        changed = tasker(*CREATE).out.strip()
        dev.until(f"{changed[-6:]} complete after")

        _change(project, "shop.py", "@handler", "@handler(")
        dev.until("SyntaxError")
        dev.until("still running the previous handlers and templates")
        still = tasker(*CREATE).out.strip()
        dev.until(f"{still[-6:]} complete after")

        _change(project, "shop.py", "@handler(", "@handler")
        dev.until("ready:")
        dev.send(signal.SIGINT)
        code = dev.end()

    results = [
        tasker("task", "show", task, "--json").document["steps"][3]["result"]
        for task in (changed, still)
    ]
    assert 0 == code
    assert ["box shipped"] * 2 == results


def test_a_changed_template_replaces_its_version(tasker: Here) -> None:
    project = tasker.project
    with project.starting(*DEV) as dev:
        dev.until("ready:")
        _change(project, "sell.yaml", "at once", "later")
        dev.until("changed: sell.yaml")
        dev.until("ready:")
        dev.send(signal.SIGTERM)
        assert 0 == dev.end()

    listed = tasker("template", "list", "--json").document["templates"]
    assert ["Reserve, charge and pack later, ship"] == [one["description"] for one in listed]


def test_broken_files_at_the_start_are_reported_until_they_are_fixed(project: Project) -> None:
    source = (project.root / "shop.py").read_text()
    project.write("shop.py", "import nosuchmodule\n")
    with project.starting(*DEV) as dev:
        dev.until("No module named 'nosuchmodule'")
        project.write("shop.py", source)
        dev.until("ready: 4 handlers")
        dev.send(signal.SIGINT)
        assert 0 == dev.end()


def test_the_web_ui_is_served_over_the_same_store(tasker: Here) -> None:
    """A task that its API creates runs; on port 3000, or on any other if that is taken."""
    with tasker.project.starting(*DEV[:-1]) as dev:
        line = dev.until("web UI: ")
        dev.until("ready:")
        (url,) = re.findall(r"web UI: (http://localhost:\d+)/ui/", line)
        assert "<title>Tasker</title>" in httpx.get(f"{url}/ui/", timeout=60).text
        body = {"name": "shop.sell", "context": {"sku": "mug"}}
        assert 201 == httpx.post(f"{url}/v1/tasks", json=body, timeout=60).status_code
        dev.until("complete after")
        dev.send(signal.SIGINT)
        assert 0 == dev.end()
