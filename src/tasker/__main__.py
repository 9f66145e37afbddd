"""`python -m tasker`."""

from tasker.cli import main

main()
