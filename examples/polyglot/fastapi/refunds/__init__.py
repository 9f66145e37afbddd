"""Refunds, on FastAPI."""
