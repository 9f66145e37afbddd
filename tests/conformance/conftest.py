"""The suite's assertions tell what they compared, as those of tests do."""

import pytest

pytest.register_assert_rewrite("tasker.testing.store_suite")
