"""A FastAPI application whose five workflows exist twice.

`earlier/` has handlers for the earlier Python package, which run unchanged; `native.py` has the
same handlers as functions of Tasker. The templates are the same.
"""
