"""How the example's handlers call services, and the services that they call."""

import asyncio

import pytest
from examples.growthcorp.gateways import Trouble, own_gateways
from examples.growthcorp.services import Reply, Unreachable, accepted, ask, ask_async
from tests.examples.conftest import Troubled

from tasker import PermanentError, RetryableError

pytestmark = pytest.mark.anyio

REFUND = ("POST", "/payments/pay_1/refunds", {"amount": 5})


async def test_async_and_blocking_requests_get_the_same_answer(troubled: Troubled) -> None:
    """
    Blocking or not, a service is asked in one way.
    """
    troubled(Trouble(calls="GET /payments", times=2, status=429, retry_after=3))

    answers = [
        await asyncio.to_thread(ask, "GET", "/payments/pay_1"),
        await ask_async("GET", "/payments/pay_1"),
        await asyncio.to_thread(ask, "GET", "/payments/pay_1"),
        await ask_async("GET", "/payments/pay_1"),
    ]

    busy = Reply(429, {"message": "Too Many Requests"}, 3.0)
    reply = Reply(200, {"payment_id": "pay_1", "refundable": 100_000})
    assert [busy, busy, reply, reply] == answers


async def test_ids_are_escaped_in_paths(troubled: Troubled) -> None:
    """Line ends and spaces in an id cannot change the request."""
    gateways = troubled()
    path = "/payments/pay_1\r\nIdempotency-Key: mine\r\n\r\nß"

    answers = [await asyncio.to_thread(ask, "GET", path), await ask_async("GET", path)]

    assert [path.rpartition("payments/")[2]] * 2 == [each.body["payment_id"] for each in answers]
    assert 2 == gateways.calls(f"GET {path}")


async def test_a_service_that_does_not_answer_is_unreachable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Both ways of asking say so, and another attempt may follow.
    """
    monkeypatch.setenv("GROWTHCORP_GATEWAYS", "http://127.0.0.1:9")

    with pytest.raises(Unreachable, match="payments did not answer"):
        await asyncio.to_thread(ask, "GET", "/payments/pay_1")
    with pytest.raises(Unreachable, match="payments did not answer"):
        await ask_async("GET", "/payments/pay_1")
    assert issubclass(Unreachable, RetryableError)


async def test_a_slow_answer_is_a_timeout(troubled: Troubled) -> None:
    """
    The caller sets how long it waits.
    """
    troubled(Trouble(calls="GET /payments", times=2, status=0, slow_s=60))

    with pytest.raises(Unreachable):
        await asyncio.to_thread(ask, "GET", "/payments/pay_1", timeout=0.05)
    with pytest.raises(Unreachable):
        await ask_async("GET", "/payments/pay_1", timeout=0.05)


def test_an_effect_with_a_key_happens_once(troubled: Troubled) -> None:
    """
    The same key gets the same refund; another key, another refund.
    """
    gateways = troubled()

    first, again, other = (ask(*REFUND, key=key) for key in ("a:refund", "a:refund", "b:refund"))

    assert first == again
    assert first.body["refund_id"] != other.body["refund_id"]
    assert {"refunds": 2} == gateways.effects()
    assert {"refunds": 1} == gateways.effects(["a:"])
    assert {"refunds": 3} == gateways.asked()


def test_a_refusal_is_not_remembered_as_an_effect(troubled: Troubled) -> None:
    """A refused request may be repeated under its key."""
    gateways = troubled(Trouble(calls="POST /payments"))

    assert [503, 201] == [ask(*REFUND, key="k").status for _ in range(2)]
    assert {"refunds": 1} == gateways.effects()


def test_by_default_the_process_has_its_own_services(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`tasker run` starts the simulated services at the first call."""
    monkeypatch.delenv("GROWTHCORP_GATEWAYS", raising=False)

    first, second = (ask(*REFUND, key="own") for _ in range(2))

    assert [503, 201] == [first.status, second.status]
    own_gateways().close()
    own_gateways.cache_clear()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
def test_refusals_are_permanent(status: int) -> None:
    """
    Answers that would be the same another time.
    """
    with pytest.raises(PermanentError, match="bank: no"):
        accepted(Reply(status, {"message": "no"}), "bank")


@pytest.mark.parametrize("status", [408, 418, 429, 500, 502, 503, 504])
def test_other_errors_are_retryable(status: int) -> None:
    """
    Answers that another attempt may find changed, after the delay that was asked for.
    """
    with pytest.raises(RetryableError, match="bank: wait") as caught:
        accepted(Reply(status, {"message": "wait"}, 4.0), "bank")

    assert caught.value.retry_after is not None
    assert 4.0 == caught.value.retry_after.total_seconds()
