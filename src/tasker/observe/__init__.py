"""What is told about a process while it works: metrics for Prometheus, traces.

Both hear of attempts from the worker (`Worker(observers=..., around=...)`) and of requests
from the API; neither is needed for either to work.
"""
