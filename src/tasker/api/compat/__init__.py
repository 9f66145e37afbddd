"""Routes and field names of the earlier Taskers."""
