"""Fixtures for all tests."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run coroutines on asyncio, the one event loop that Tasker supports."""
    return "asyncio"
