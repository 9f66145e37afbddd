"""User registration at four services: the diamond, its branches, and where they meet."""

import asyncio
import re
from typing import Any

import pytest
from examples.growthcorp.gateways import Trouble
from examples.growthcorp.microservices import (
    CreateUserAccountHandler,
    SendWelcomeSequenceHandler,
    update_user_status,
)
from tests.examples.company import Company, company_of, company_templates
from tests.examples.conftest import Opening, Troubled

pytestmark = pytest.mark.anyio

REGISTRATION = "microservices.user_registration"
CREATES, BILLS, PREFERS = "create_user_account", "setup_billing_profile", "initialize_preferences"
WELCOMES, OPENS = "send_welcome_sequence", "update_user_status"


def user(**more: object) -> dict[str, Any]:
    return {
        "user_info": {
            "email": "new.user@example.com",
            "name": "New User",
            "plan": "pro",
            "source": "signup_form",
            **more,
        }
    }


# --------------------------------------------------------------------------- account


async def test_an_account_is_created_from_the_input(company: Company) -> None:
    """
    The address in lower case, an id, a token to verify the address with.
    """
    ended = await company.run(REGISTRATION, user(email="New.User@Example.COM"))

    account = ended.result(CREATES)
    assert re.fullmatch(r"usr_[0-9a-f]{24}", account.pop("user_id"))
    assert re.fullmatch(r"[\w-]{43}", account.pop("verification_token"))
    assert account.pop("created_at")
    assert {
        "email": "new.user@example.com",
        "name": "New User",
        "plan": "pro",
        "status": "created",
        "email_verified": False,
    } == account


async def test_the_default_plan_is_free(company: Company) -> None:
    """The free plan has no trial and sends no push notification."""
    ended = await company.run(REGISTRATION, user(plan=None))

    assert "free" == ended.result(CREATES)["plan"]
    assert 0 == ended.result(BILLS)["trial_days"]


@pytest.mark.parametrize(
    ("context", "message", "code"),
    [
        (user(email=None), "Email address is required", "MISSING_EMAIL"),
        (user(email=""), "Email address is required", "MISSING_EMAIL"),
        ({}, "Email address is required", "MISSING_EMAIL"),
        ({"user_info": "someone"}, "Email address is required", "MISSING_EMAIL"),
        (user(email=7), "Invalid email format: 7", "INVALID_EMAIL"),
        (user(email="nobody"), "Invalid email format: nobody", "INVALID_EMAIL"),
        (user(email="a b@example.com"), "Invalid email format: a b@example.com", "INVALID_EMAIL"),
        (user(email="a@example"), "Invalid email format: a@example", "INVALID_EMAIL"),
        (user(email="a@b@example.com"), "Invalid email format: a@b@example.com", "INVALID_EMAIL"),
        (
            user(email="user@MailInator.com"),
            "Disposable email addresses are not allowed: mailinator.com",
            "BLOCKED_EMAIL_DOMAIN",
        ),
        (
            user(email="user@tempmail.com"),
            "Disposable email addresses are not allowed: tempmail.com",
            "BLOCKED_EMAIL_DOMAIN",
        ),
        (
            user(email="user@throwaway.email"),
            "Disposable email addresses are not allowed: throwaway.email",
            "BLOCKED_EMAIL_DOMAIN",
        ),
    ],
)
async def test_an_invalid_address_is_refused_immediately(
    company: Company, context: dict[str, Any], message: str, code: str
) -> None:
    """An invalid address takes one attempt, and no later step runs."""
    ended = await company.run(REGISTRATION, context)

    assert {
        "type": "PermanentError",
        "message": message,
        "code": code,
        "retryable": False,
    } == ended.error(CREATES)
    assert ["error"] == ended.outcomes(CREATES)
    assert {"error": 1, "pending": 4} == {
        state: list(ended.states.values()).count(state) for state in ended.states.values()
    }
    assert {} == company.gateways.effects()


async def test_a_second_account_for_an_address_is_refused(company: Company) -> None:
    """
    A registered user is refused; a lost answer does not count as "registered already".
    """
    await company.run(REGISTRATION, user())
    again = await company.run(REGISTRATION, user())

    assert "EMAIL_TAKEN" == again.error(CREATES)["code"]
    assert 1 == company.gateways.effects()["accounts"]


async def test_creating_an_account_twice_creates_one(company_with: Opening) -> None:
    """
    The service made the account, its answer was lost: the next attempt gets that account.
    """
    async with company_with(Trouble(calls="POST /users", status=504, answer_lost=True)) as company:
        ended = await company.run(REGISTRATION, user())

    assert "complete" == ended.state
    assert ["retry", "complete"] == ended.outcomes(CREATES)
    assert 1 == company.gateways.effects()["accounts"]


# --------------------------------------------------------------------------- diamond


async def test_the_branches_run_concurrently(troubled: Troubled) -> None:
    """
    Each branch waits for the other to have begun: one after the other would never end.
    """
    both = asyncio.Barrier(2)

    async def billing(create_user_account: dict[str, Any]) -> dict[str, Any]:
        await both.wait()
        return {"trial_days": 0}

    async def preferences(create_user_account: dict[str, Any]) -> dict[str, Any]:
        await both.wait()
        return {"preferences": {}}

    handlers = [
        CreateUserAccountHandler,
        SendWelcomeSequenceHandler,
        update_user_status,
        {
            "Microservices::StepHandlers::SetupBillingProfileHandler": billing,
            "Microservices::StepHandlers::InitializePreferencesHandler": preferences,
        },
    ]
    mine = [template for template in company_templates() if template.namespace == "microservices"]
    async with company_of(troubled(), handlers, mine) as company:
        ended = await company.run(REGISTRATION, user())

    assert "complete" == ended.state


async def test_the_welcome_waits_for_the_slower_branch(company_with: Opening) -> None:
    """Billing needs three attempts; the welcome waits for it and for preferences."""
    async with company_with(Trouble(calls="POST /billing", times=2)) as company:
        ended = await company.run(REGISTRATION, user())

    assert "complete" == ended.state
    assert ["retry", "retry", "complete"] == ended.outcomes(BILLS)
    assert ["complete"] == ended.outcomes(PREFERS)
    order = [entry.step for entry in ended.history if entry.outcome == "complete"]
    assert [CREATES, PREFERS, BILLS, WELCOMES, OPENS] == order


async def test_backoff_doubles_from_the_delay_in_the_template(
    company_with: Opening,
) -> None:
    """
    Two seconds, then four, each give or take a tenth.
    """
    async with company_with(Trouble(calls="POST /billing", times=2)) as company:
        await company.run(REGISTRATION, user())

    first, second = company.delays[BILLS]
    assert 1.8 <= first <= 2.2
    assert 3.6 <= second <= 4.4


async def test_a_branch_that_fails_permanently_does_not_stop_its_sibling(
    company_with: Opening,
) -> None:
    """
    Three attempts, then billing is in error; preferences are set, the welcome never sent.
    """
    async with company_with(Trouble(calls="POST /billing", times=99)) as company:
        ended = await company.run(REGISTRATION, user())

    assert "error" == ended.state
    assert {
        CREATES: "complete",
        BILLS: "error",
        PREFERS: "complete",
        WELCOMES: "pending",
        OPENS: "pending",
    } == ended.states
    assert ["retry", "retry", "error"] == ended.outcomes(BILLS)
    assert 3 == company.gateways.calls("POST /billing")
    assert 0 == company.gateways.effects()["notifications"]


async def test_each_service_has_its_own_retry_policy(company_with: Opening) -> None:
    """Failures of billing do not affect preferences."""
    async with company_with(
        Trouble(calls="POST /billing", times=2), Trouble(calls="PUT /preferences", times=2)
    ) as company:
        ended = await company.run(REGISTRATION, user())

    assert "complete" == ended.state
    assert ["retry", "retry", "complete"] == ended.outcomes(BILLS)
    assert ["retry", "retry", "complete"] == ended.outcomes(PREFERS)


async def test_the_registration_continues_once_billing_is_available(company_with: Opening) -> None:
    """An operator retries the failed step; completed steps are not repeated."""
    async with company_with(Trouble(calls="POST /billing", times=3)) as company:
        failed = await company.run(REGISTRATION, user())
        await company.client.retry(failed.task.id, reason="billing is back")
        ended = await company.ended(failed.task.id)

    assert ("error", "complete") == (failed.state, ended.state)
    assert ["complete"] == ended.outcomes(CREATES)
    assert {"accounts": 1, "billing profiles": 1, "preferences": 1} == {
        kind: company.gateways.effects()[kind]
        for kind in ("accounts", "billing profiles", "preferences")
    }


# --------------------------------------------------------------------------- welcome


@pytest.mark.parametrize(
    ("plan", "channels", "count"),
    [("free", ["email"], 1), ("pro", ["email", "push"], 3), ("enterprise", ["email", "push"], 3)],
)
async def test_the_welcome_follows_plan_trial_and_preferences(
    company: Company, plan: str, channels: list[str], count: int
) -> None:
    """A mail always, a mail about the trial if there is one, a push notification if wanted."""
    ended = await company.run(REGISTRATION, user(plan=plan))

    welcome = ended.result(WELCOMES)
    assert welcome.pop("sent_at")
    assert {
        "user_id": ended.result(CREATES)["user_id"],
        "channels_used": channels,
        "messages_sent": count,
        "status": "sent",
    } == welcome


def test_messages_contain_the_user_the_plan_and_the_trial() -> None:
    """
    Data of three branches makes one sequence.
    """
    messages = SendWelcomeSequenceHandler().messages(
        {"email": "new.user@example.com", "name": "New User", "plan": "pro"},
        {"trial_days": 14},
        {"preferences": {"notifications": {"push": True}}},
    )

    assert [
        ("email", "welcome", "Welcome to Tasker, New User!"),
        ("email", "trial_started", "Your Pro trial has started"),
        ("push", "welcome", "Your pro account is ready. Let's get started!"),
    ] == [(message["channel"], message["type"], message["text"]) for message in messages]


async def test_the_welcome_reads_a_step_that_is_not_its_parent(company: Company) -> None:
    """
    `create_user_account` is an ancestor: its result is there without being asked for twice.
    """
    ended = await company.run(REGISTRATION, user())

    template = (await company.client.template(REGISTRATION)).template
    assert CREATES not in template.step(WELCOMES).dependencies
    assert ended.result(CREATES)["user_id"] == ended.result(WELCOMES)["user_id"]


async def test_a_branch_resolved_without_a_result_is_a_missing_dependency(
    company_with: Opening,
) -> None:
    """Billing was resolved without a result: the welcome cannot be sent."""
    async with company_with(Trouble(calls="POST /billing", times=99)) as company:
        failed = await company.run(REGISTRATION, user())
        await company.client.resolve(failed.task.id, BILLS, reason="billed by hand")
        ended = await company.ended(failed.task.id)

    assert "resolved_manually" == ended.states[BILLS]
    assert {
        "type": "PermanentError",
        "message": "Upstream data not available for welcome sequence",
        "code": "MISSING_DEPENDENCIES",
        "retryable": False,
    } == ended.error(WELCOMES)


async def test_a_branch_resolved_with_a_result_counts_as_run(company_with: Opening) -> None:
    """
    With the result that the handler would have returned, the registration completes.
    """
    async with company_with(Trouble(calls="POST /billing", times=99)) as company:
        failed = await company.run(REGISTRATION, user())
        await company.client.resolve(
            failed.task.id, BILLS, {"trial_days": 14}, reason="billed by hand"
        )
        ended = await company.ended(failed.task.id)

    assert "complete" == ended.state
    assert 3 == ended.result(WELCOMES)["messages_sent"]


async def test_the_user_ends_as_active(company: Company) -> None:
    """
    The last step opens the account.
    """
    ended = await company.run(REGISTRATION, user())

    assert "active" == ended.result(OPENS)["status"]
    assert 1 == company.gateways.effects()["activations"]
