"""Handlers for the earlier Python package."""
