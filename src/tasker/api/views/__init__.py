"""What answers look like: typed dictionaries, which the API's description is made from."""

from pydantic import ConfigDict, with_config

documented = with_config(ConfigDict(use_attribute_docstrings=True))
"""Marks a shape whose attributes' docstrings go into the API's description."""
