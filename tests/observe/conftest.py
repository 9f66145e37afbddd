"""Fixtures for the tests of observation."""

from tests.process_state import unchanged_by_module, unchanged_by_test  # noqa: F401
