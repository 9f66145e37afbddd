"""Its handlers."""
