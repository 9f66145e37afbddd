"""`tasker queue`, and pausing from the command line."""

from tests.cli.conftest import Here


def test_a_queue_is_paused_weighed_and_resumed(tasker: Here) -> None:
    """The list says what is paused, by whom and why."""
    assert 0 == tasker("template", "register", "sell.yaml").code

    paused = tasker("queue", "pause", "charge", "-n", "shop", "--as", "ann", "--reason", "down")
    listed = tasker("queue", "list")
    weighed = tasker("queue", "weight", "charge", "4", "-n", "shop")
    all_pauses = tasker("queue", "pauses")
    resumed = tasker("queue", "resume", "charge", "-n", "shop")
    again = tasker("queue", "resume", "charge", "-n", "shop")

    assert paused.out.startswith("paused: queue charge of namespace shop, by ann ")
    assert paused.out.rstrip().endswith(": down")
    assert "by ann" in listed.out
    assert "weight 4: queue charge of namespace shop\n" == weighed.out
    assert "queue charge of namespace shop, by ann" in all_pauses.out
    assert "resumed: queue charge of namespace shop\n" == resumed.out
    assert "not paused: queue charge of namespace shop\n" == again.out
