"""One measured run of one checkout: `python -P -m bench.side ORDER`, started by `bench.compare`.

Uses only public names of Tasker, because the same files measure old and new revisions.
"""
