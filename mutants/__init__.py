"""Planted defects: small changes to the code that the tests must notice.

Each defect replaces one text by another in one file of `src` and names the tests that should
catch it. `python -m mutants` plants one at a time in a copy of the working tree and runs them.
"""
