"""The number of examples of a property and of cases of a test: all in `make prove`, a part of them in `make test`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

FEWEST = 10  # below that a property says little


def examples(number: int, **others: Any) -> settings:
    """Return settings with the share of `number` examples that the present profile takes of Hypothesis' usual 100.

    Args:
        number: of examples in the profile "thorough".
        others: further settings.
    """
    share = settings().max_examples / 100
    return settings(max_examples=max(FEWEST, round(number * share)), **others)


def first(number: int, cases: Iterable[object]) -> list[object]:
    """Return all cases of a parameter, those after the first ones marked as slow."""
    return [case if index < number else pytest.param(case, marks=pytest.mark.slow) for index, case in enumerate(cases)]
