"""Random numbers as a function of a key: the same in every process, in any order, at any time.

The numbers of a generator with a state would depend on the order of the requests, and concurrent requests come in a
different order in each run.
"""

from __future__ import annotations

from hashlib import shake_128
from struct import unpack

_WORD_VALUES = 2.0**32


def numbers(count: int, *key: object) -> tuple[float, ...]:
    """Return `count` numbers, uniformly distributed over [0, 1)."""
    return tuple(word / _WORD_VALUES for word in unpack(f">{count}I", octets(4 * count, *key)))


def number(*key: object) -> float:
    """Return one number in [0, 1)."""
    return numbers(1, *key)[0]


def octets(count: int, *key: object) -> bytes:
    """Return `count` random bytes."""
    return shake_128("\x1f".join(map(str, key)).encode()).digest(count)
