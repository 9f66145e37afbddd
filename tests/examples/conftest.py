"""Fixtures for the tests of the examples."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest
from examples.growthcorp import handlers
from examples.growthcorp.gateways import Gateways, Trouble
from tests.examples.company import Company, company_of, company_templates

from tasker import Template

Troubled = Callable[..., Gateways]


@pytest.fixture
def troubled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Troubled]:
    """Start services that have certain troubles, and send the handlers there."""
    started: list[Gateways] = []

    def start(*troubles: Trouble, looks: int = 0) -> Gateways:
        gateways = Gateways(troubles, looks=looks)
        started.append(gateways)
        monkeypatch.setenv("GROWTHCORP_GATEWAYS", gateways.url)
        return gateways

    yield start
    for gateways in started:
        gateways.close()


Opening = Callable[..., AbstractAsyncContextManager[Company]]


@pytest.fixture
def company_with(troubled: Troubled) -> Opening:
    """Open the company with certain troubles, templates and further handlers."""

    def opened(
        *troubles: Trouble,
        templates: list[Template] | None = None,
        more: list[object] | None = None,
        looks: int = 0,
    ) -> AbstractAsyncContextManager[Company]:
        return company_of(
            troubled(*troubles, looks=looks),
            [handlers, *(more or [])],
            company_templates() if templates is None else templates,
        )

    return opened


@pytest.fixture
async def company(company_with: Opening) -> AsyncIterator[Company]:
    """Open the company, with nothing in the way."""
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(company_with())
