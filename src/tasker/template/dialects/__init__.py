"""The template dialects of the two earlier versions of Tasker."""
