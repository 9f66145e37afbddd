"""`tasker webhook` and `tasker event`."""

import re

from tests.cli.conftest import Here

URL = "https://crm.example/tasker"
FLOW = """
    name: sell
    namespace_name: shop
    version: 1.0.0
    steps:
    - {name: pack, handler: pack_it, events: [order.packed]}
"""


def test_a_webhook_is_created_listed_changed_and_deleted(tasker: Here) -> None:
    made = tasker("webhook", "create", "shop.crm", URL, "-e", "order.*", "--include", "result")
    secret = made.out.strip()
    again = tasker("webhook", "secret", "shop.crm", "--json").document["secret"]
    listed = tasker("webhook", "list").out
    shown = tasker("webhook", "show", "shop.crm", "--json").document
    paused = tasker("webhook", "update", "shop.crm", "--pause").out
    deleted = tasker("webhook", "delete", "shop.crm").out

    assert re.fullmatch(r"whsec_[A-Za-z0-9+/=]{44}", secret)
    assert secret != again
    assert re.search(rf"shop\.crm +order\.\* +{URL}", listed)
    assert (["order.*"], ["result"], None) == (shown["events"], shown["include"], shown["secret"])
    assert "paused" in paused
    assert "deleted: shop.crm\n" == deleted
    assert "no webhooks" in tasker("webhook", "list").err
    assert 2 == tasker("webhook", "create", "shop.crm", "nowhere").code


def test_events_and_deliveries_are_listed(tasker: Here) -> None:
    tasker.project.write("events.yaml", FLOW)
    tasker.project.write("packing.py", "def pack_it() -> str:\n    return 'parcel'\n")
    tasker("webhook", "create", "shop.crm", URL)

    assert 0 == tasker("run", "events.yaml", "-H", "packing.py").code

    listed = tasker("event", "list", "order.*")
    (event,) = tasker("event", "list", "--json").document["events"]
    assert re.search(r'order\.packed +shop +pack +1 .*"parcel"', listed.out)
    assert ("order.packed", "parcel") == (event["name"], event["payload"])
    assert "no events" in tasker("event", "list", "payment.*").err
    assert 2 == tasker("webhook", "send", "shop.crm", "99").code


def test_a_provider_hook_is_declared_listed_and_deleted(tasker: Here) -> None:
    """Its secret comes from stdin, and no command prints it."""
    options = ("--scheme", "stripe", "--sends", "paid", "--key", "body.order", "--id", "body.id")
    declared = tasker("hook", "declare", "shop.pay", *options, input="whsec_0123456789abcdef\n")
    listed = tasker("hook", "list", "-n", "shop").out
    document = tasker("hook", "list", "--json").document

    assert "declared: POST /v1/hooks/shop/pay\n" == declared.out
    assert re.search(r"shop\.pay +stripe +broadcast paid +body\.order", listed)
    assert ["body.id"] == [hook["id"] for hook in document["hooks"]]
    assert "whsec" not in declared.out + listed + str(document)
    assert "deleted: shop.pay\n" == tasker("hook", "delete", "shop.pay").out
    assert "no hooks" in tasker("hook", "list").err
    assert 2 == tasker("hook", "declare", "shop.pay", *options, input="short").code
