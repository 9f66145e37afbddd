"""The result of a decision: which of its children run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of a decision's handler: the children that run. All other children are skipped.

    Create it with `Decision.choose` or `Decision.none`.
    """

    chosen: tuple[str, ...]
    """Names of the chosen steps."""

    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    """JSON values that later steps can read, for example as `results.route.data.region`."""

    @classmethod
    def choose(cls, *steps: str, reason: str = "", data: Mapping[str, Any] | None = None) -> Self:
        """Choose the steps that run.

        Args:
            steps: Their names, at least one.
            reason: The reason, for people.
            data: JSON values for later steps.

        Raises:
            ValueError: No steps are given; use `Decision.none` to choose none.
        """
        if not steps:
            raise ValueError("name at least one step, or return Decision.none(reason)")
        return cls(tuple(dict.fromkeys(steps)), reason, data or {})

    @classmethod
    def none(cls, reason: str = "", *, data: Mapping[str, Any] | None = None) -> Self:
        """Choose none of the steps that depend on the decision.

        Args:
            reason: The reason, for people.
            data: JSON values for later steps.
        """
        return cls((), reason, data or {})
