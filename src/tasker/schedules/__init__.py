"""Schedules: their ticks, and the decision which of them get a task. Pure."""
