"""The seed of the crash tests: printed, and settable, so that a run can be repeated."""

import os
import random

import pytest

for _module in ("endings", "fleet", "waits"):  # so that what they assert is reported with values
    pytest.register_assert_rewrite(f"tests.crash.{_module}")
os.environ.setdefault("TASKER_SEED", str(random.randrange(10**9)))  # for xdist's workers too


def pytest_report_header() -> str:
    return f"crash tests: TASKER_SEED={os.environ['TASKER_SEED']}"


@pytest.fixture
def seed() -> int:
    return int(os.environ["TASKER_SEED"])
