"""Randomness that is a function of its key: the same in every process, in any order, at any time.

A generator with a state would make one request's fate depend on those before it, and with concurrent requests that
order is never the same twice.
"""

from __future__ import annotations

from hashlib import shake_128
from struct import unpack

_STEPS = 2.0**32


def numbers(count: int, *key: object) -> tuple[float, ...]:
    """So many numbers, evenly spread over [0, 1)."""
    return tuple(word / _STEPS for word in unpack(f">{count}I", octets(4 * count, *key)))


def number(*key: object) -> float:
    """One number in [0, 1)."""
    return numbers(1, *key)[0]


def octets(count: int, *key: object) -> bytes:
    """So many bytes."""
    return shake_128("\x1f".join(map(str, key)).encode()).digest(count)
