"""Examples of handlers."""
