"""The template dialects of the two earlier Taskers."""
