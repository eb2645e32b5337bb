"""The number of examples of a property: all of them for `make prove`, a share of them for `make test`."""

from __future__ import annotations

from typing import Any

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
