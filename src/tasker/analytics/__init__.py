"""Statistics over tasks, steps and attempts."""
