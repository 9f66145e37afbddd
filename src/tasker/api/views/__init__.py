"""Responses whose JSON differs from the model's dataclasses; other responses are dataclasses."""

from pydantic import ConfigDict, with_config

documented = with_config(ConfigDict(use_attribute_docstrings=True))
"""Adds the docstrings of a view's attributes to the OpenAPI description."""
