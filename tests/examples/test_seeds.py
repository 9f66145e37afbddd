"""What the seed documents promise of namespaces, versions and registration, and their own
templates, run as they are printed.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.examples.company import SEEDS, Company, company_templates, seed
from tests.examples.conftest import Opening

from tasker import NotFound, StepStatus, TaskRegistrationError, TaskRequest, parse_template
from tasker.model import TemplateName

pytestmark = pytest.mark.anyio

REFUND: dict[str, Any] = {
    "payment_id": "pay_123",
    "refund_amount": 4999,
    "refund_reason": "customer_request",
}


# ------------------------------------------------------------------------ namespaces


async def test_two_teams_have_workflows_with_the_same_name(company: Company) -> None:
    """With different steps and inputs, at the same time."""
    tasks = await company.client.create_tasks(
        [
            TaskRequest(
                template="process_refund", namespace="payments", version="2.1.0", context=REFUND
            ),
            TaskRequest(
                template="process_refund",
                namespace="customer_success",
                version="1.3.0",
                context={
                    "ticket_id": "TICKET-1234",
                    "customer_id": "cust_abc123",
                    "refund_amount": 49.99,
                    "refund_reason": "defective",
                },
            ),
        ]
    )
    paid, served = [await company.ended(task.id) for task in tasks]

    assert ("complete", "complete") == (paid.state, served.state)
    assert not set(paid.steps) & set(served.steps)


async def test_a_full_name_consists_of_namespace_name_and_version(company: Company) -> None:
    """It is derived from its parts."""
    task = await company.client.create_task("payments.process_refund@2.0.0", REFUND)

    assert TemplateName("payments", "process_refund", "2.0.0") == task.template
    assert "payments.process_refund@2.0.0" == str(task.template)
    assert "pending" == task.status


async def test_a_name_without_its_namespace_never_starts_another_teams_workflow(
    company: Company,
) -> None:
    """The error names the namespaces that have it."""
    with pytest.raises(NotFound) as caught:
        await company.client.create_task("process_refund", REFUND)

    message = str(caught.value)
    assert "template default.process_refund not found" in message
    assert "customer_success.process_refund or payments.process_refund" in message


async def test_workflows_are_found_by_namespace(company: Company) -> None:
    """Workflows can be listed for one team or all."""
    everything = await company.client.templates()
    of_payments = await company.client.templates("payments")

    assert {
        "payments.process_refund@2.0.0",
        "payments.process_refund@2.1.0",
        "customer_success.process_refund@1.3.0",
        "microservices.user_registration@1.0.0",
        "sales.fulfil_order@1.0.0",
        "sales.ship_line@1.0.0",
    } == {stored.template.full_name for stored in everything}
    assert {"2.0.0", "2.1.0"} == {stored.template.version for stored in of_payments}
    assert [4, 5] == sorted(len(stored.template.steps) for stored in of_payments)


# ---------------------------------------------------------------------- registration


def collision(team: str) -> str:
    """Tell a workflow that went into `default`, as the first seed prints it, with a step."""
    printed = (SEEDS / f"{team}_collision.yaml").read_text("utf-8")
    return f"{printed}\nstep_templates:\n  - name: refund\n    handler_class: {team}\n"


async def test_a_taken_name_is_refused_with_its_owner(company: Company) -> None:
    """The second registration fails, and the first workflow is unchanged."""
    first = parse_template(collision("payments"))
    second = parse_template(collision("customer_success"))
    await company.client.register(first)

    with pytest.raises(TaskRegistrationError) as caught:
        await company.client.register(second)

    message = str(caught.value)
    assert message.startswith("Handler for task 'process_refund' already exists")
    assert "namespace 'default'" in message
    assert "version 1.0.0" in message
    assert f"registered by {company.client.actor}" in message
    kept = (await company.client.template("default.process_refund")).template
    assert "Process payment gateway refunds" == kept.description


async def test_registering_the_same_content_again_changes_nothing(company: Company) -> None:
    """
    Every process registers its templates when it starts; only the first time counts.
    """
    again = [await company.client.register(template) for template in company_templates()]

    assert [False] * 6 == [registered.created for registered in again]


async def test_a_namespace_resolves_a_collision(company: Company) -> None:
    """
    The same two workflows, each in its team's namespace, get along.
    """
    for team in ("payments", "customer_success"):
        template = replace(parse_template(collision(team)), namespace=team)
        registered = await company.client.register(template)
        assert registered.created


async def test_a_release_of_one_team_does_not_affect_another(company: Company) -> None:
    """
    Payments registers a version; what customer success has is as it was.
    """
    before = await company.client.templates("customer_success")
    await company.client.register(seed("payments_process_refund_2.1.3"))

    assert before == await company.client.templates("customer_success")


# -------------------------------------------------------------------------- versions


async def test_versions_run_side_by_side(company: Company) -> None:
    """Tasks of both versions run at the same time, each with its own steps."""
    old, new = await asyncio.gather(
        company.run("payments.process_refund", REFUND, version="2.0.0"),
        company.run("payments.process_refund", REFUND, version="2.1.0"),
    )

    assert ("complete", "complete") == (old.state, new.state)
    assert {"notify_customer"} == set(old.steps) - set(new.steps)
    assert {"check_fraud_indicators", "notify_stakeholders"} == set(new.steps) - set(old.steps)


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        (None, "2.1.0"),
        ("2.0.0", "2.0.0"),
        ("~2.0", "2.0.0"),
        ("^2", "2.1.0"),
        (">=2,<2.1", "2.0.0"),
    ],
)
async def test_callers_choose_a_version_or_get_the_latest(
    company: Company, asked: str | None, given: str
) -> None:
    """By an exact version or a range; default: the latest release."""
    task = await company.client.create_task("payments.process_refund", REFUND, version=asked)

    assert given == task.template.version


async def test_version_10_is_later_than_version_9(company: Company) -> None:
    """Versions are compared as numbers; pre-releases are not chosen."""
    base = (await company.client.template("payments.process_refund@2.1.0")).template
    for version in ("9.0.0", "10.0.0", "11.0.0-rc.1"):
        await company.client.register(replace(base, version=version))

    task = await company.client.create_task("payments.process_refund", REFUND)

    assert "10.0.0" == task.template.version


async def test_an_unknown_version_is_refused_with_the_existing_ones(
    company: Company,
) -> None:
    """No other version is used instead."""
    with pytest.raises(NotFound, match=r"matches 2\.2\.0; available: 2\.0\.0, 2\.1\.0"):
        await company.client.create_task("payments.process_refund", REFUND, version="2.2.0")


# ---------------------------------------------------------------- templates as printed

PAYMENTS_CONTEXTS: tuple[dict[str, Any], ...] = (
    {**REFUND, "partial_refund": False},
    {
        "payment_id": "pay_xyz789",
        "refund_amount": 49.99,
        "refund_reason": "fraud",
        "customer_email": "customer@example.com",
    },
)


@pytest.mark.parametrize("context", PAYMENTS_CONTEXTS)
@pytest.mark.parametrize("name", ["payments_process_refund_1.0.0", "payments_process_refund_2.1.3"])
async def test_payments_templates_run_as_printed(
    company_with: Opening, name: str, context: dict[str, Any]
) -> None:
    """
    In either dialect, with handlers under the names that the document gives them.
    """
    async with company_with(templates=[seed(name)]) as company:
        ended = await company.run("payments.process_refund", context)

    assert "complete" == ended.state
    assert [
        "validate_payment_eligibility",
        "process_gateway_refund",
        "update_payment_records",
        "notify_customer",
    ] == list(ended.steps)
    assert {"refunds": 1, "ledger entries": 1, "notifications": 1} == company.gateways.effects()


@pytest.mark.parametrize(
    ("name", "context"),
    [
        (
            "customer_success_process_refund_1.0.0",
            {
                "ticket_id": "TICKET-1234",
                "customer_id": "cust_abc123",
                "refund_amount": 49.99,
                "refund_reason": "defective",
                "customer_email": "customer@example.com",
            },
        ),
        (
            "customer_success_process_refund_1.3.3",
            {
                "ticket_id": "cs_456",
                "customer_id": "cust_789",
                "refund_amount": 4999,
                "refund_reason": "Product defective",
                "agent_notes": "Customer very upset, expedite refund",
                "requires_approval": True,
            },
        ),
    ],
)
async def test_customer_success_templates_run_as_printed(
    company_with: Opening, name: str, context: dict[str, Any]
) -> None:
    """In both dialects, delegating to the latest version of payments."""
    templates = [seed(name), *company_templates()]
    async with company_with(templates=templates) as company:
        version = seed(name).version
        ended = await company.run("customer_success.process_refund", context, version=version)

    assert "complete" == ended.state
    assert {StepStatus.COMPLETE} == {step.status for step in ended.steps.values()}
    assert "2.1.0" == ended.result("execute_refund_workflow")["target_version"]


async def test_user_registration_runs_as_printed(company_with: Opening) -> None:
    """
    The diamond; the example's own copy differs by its environment only.
    """
    printed = seed("user_registration_1.0.0")
    async with company_with(templates=[printed]) as company:
        ended = await company.run(
            "microservices.user_registration",
            {
                "user_info": {
                    "email": "new.user@example.com",
                    "name": "New User",
                    "plan": "pro",
                    "source": "signup_form",
                }
            },
        )

    assert "complete" == ended.state
    ours = next(template for template in company_templates() if template.name == printed.name)
    assert printed == replace(ours, environments={})


@pytest.mark.parametrize("amount", [0, 0.0])
async def test_an_amount_that_matches_the_schema_may_still_be_refused(
    company_with: Opening, amount: float
) -> None:
    """
    The printed schema allows zero; the handler does not.
    """
    async with company_with(templates=[seed("payments_process_refund_2.1.3")]) as company:
        ended = await company.run("payments.process_refund", {**REFUND, "refund_amount": amount})

    assert "INVALID_AMOUNT" == ended.error("validate_payment_eligibility")["code"]


async def test_printed_defaults_are_stored_with_the_context(company_with: Opening) -> None:
    """Omitted inputs with defaults are available to every handler."""
    async with company_with(templates=[seed("payments_process_refund_2.1.3")]) as company:
        ended = await company.run("payments.process_refund", REFUND)

    assert {**REFUND, "partial_refund": False} == ended.task.context
