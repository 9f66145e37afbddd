"""An order of the sales team, from its reservation to the survey."""

from datetime import timedelta
from typing import Any

import pytest
from examples.growthcorp import handlers
from examples.growthcorp.gateways import Trouble
from tests.examples.company import TEMPLATES
from tests.examples.conftest import Troubled

from tasker import CompensationStatus, StepStatus, TaskStatus
from tasker.testing import WorkflowRun, run_workflow

pytestmark = pytest.mark.anyio

ORDER = TEMPLATES / "sales_fulfil_order_1.0.0.yaml"
PARCEL = TEMPLATES / "sales_ship_line_1.0.0.yaml"


def line(sku: str, quantity: int = 1, cents: int = 10_000) -> dict[str, Any]:
    return {"sku": sku, "quantity": quantity, "cents": cents}


async def run(*lines: dict[str, Any], paid: int | None, **options: Any) -> WorkflowRun[Any]:
    """Run an order that is paid with some cents, or never."""
    payment: list[tuple[str, Any]] = (
        [] if paid is None else [("payment_received", {"id": "pay_1", "cents": paid})]
    )
    order = {"order_id": "A-1", "customer_id": "cust_1", "lines": lines}
    return await run_workflow(
        ORDER, order, handlers=handlers, templates=[PARCEL], signals=payment, **options
    )


async def test_a_small_order_needs_no_approval(troubled: Troubled) -> None:
    """Each line is reserved and shipped by itself; the survey comes two weeks later."""
    gateways = troubled(Trouble(calls="POST /warehouse/reservations", about="LAMP", times=2))

    order = await run(line("DESK"), line("LAMP", 2), paid=30_000)

    assert StepStatus.SKIPPED is order.steps["approve"].status
    assert 3 == order.steps["reserve[1]"].attempts
    assert ["Parcel DESK", "Parcel LAMP"] == sorted(str(child.title) for child in order.children)
    assert timedelta(days=14) < order.slept < timedelta(days=14, minutes=5)
    assert ["order.paid", "order.shipped"] == [event.name for event in order.events]
    assert {
        "reservations": 2,
        "checkouts": 1,
        "parcels": 2,
        "parcels handed over": 2,
        "notifications": 1,
    } == gateways.effects()


@pytest.mark.parametrize("approved", [True, False])
async def test_a_large_order_waits_for_a_person(troubled: Troubled, approved: bool) -> None:
    gateways = troubled()

    paid = 200_000 if approved else None
    order = await run(line("DESK", 20), paid=paid, decisions=[{"approved": approved}])

    assert (TaskStatus.COMPLETE if approved else TaskStatus.ERROR) is order.task.status
    assert int(approved) == gateways.effects()["checkouts"]


@pytest.mark.parametrize(
    ("paid", "step", "code"),
    [(None, "payment", "wait_timeout"), (9_999, "check_payment", "WRONG_AMOUNT")],
)
async def test_an_order_that_is_not_paid_is_not_shipped(
    troubled: Troubled, paid: int | None, step: str, code: str
) -> None:
    """Within three days, and in full. Its goods go back, and its checkout is closed."""
    gateways = troubled()

    order = await run(line("DESK"), paid=paid)

    assert CompensationStatus.COMPLETE is order.task.compensation
    effects = gateways.effects()
    assert (1, 1) == (effects["reservations released"], effects["checkouts closed"])

    error = order.steps[step].error
    assert error is not None
    assert code == error["code"]
    assert 0 == gateways.effects()["parcels"]
    assert (paid is not None) == ("order.payment_refused" in {each.name for each in order.events})


async def test_an_item_out_of_stock_ends_the_order(troubled: Troubled) -> None:
    """Reserved items are released."""
    gateways = troubled()

    order = await run(line("DESK"), line("LAMP", 101), paid=None)

    assert 1 == gateways.effects()["reservations released"]

    error = order.steps["reserve[1]"].error
    assert error is not None
    assert "OUT_OF_STOCK" == error["code"]
    assert 0 == gateways.effects()["checkouts"]


async def test_an_order_that_cannot_be_shipped_is_refunded(troubled: Troubled) -> None:
    gateways = troubled(Trouble(calls="POST /warehouse/parcels", status=410))

    order = await run(line("DESK"), paid=10_000)

    assert TaskStatus.ERROR is order.task.status
    effects = gateways.effects()
    assert (1, 1) == (effects["refunds"], effects["reservations released"])


async def test_a_failed_survey_does_not_affect_the_order(troubled: Troubled) -> None:
    troubled(Trouble(calls="POST /notifications", times=99))

    order = await run(line("DESK"), paid=10_000)

    assert StepStatus.ERROR is order.steps["survey"].status
    assert TaskStatus.COMPLETE is order.task.status
