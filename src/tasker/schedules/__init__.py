"""Schedules: their ticks, and the decision which ticks get a task."""
