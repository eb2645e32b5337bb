"""The requests that a quota record leaves."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from harvester.core.model import QuotaRecord, usable_limit
from harvester.core.quota import Quota
from tests.support.window_server import EPOCH

limits, reserves, counts = st.integers(1, 400), st.integers(0, 400), st.integers(0, 400)


def record(limit: int, spent: int, remaining: int | None) -> QuotaRecord:
    return QuotaRecord(limit, spent, remaining, resets_at=int(EPOCH) + 900, server_ahead=0.0, recorded_at=EPOCH)


@given(limits, reserves)
@example(limit=150, reserve=150)
@example(limit=10, reserve=100)  # the server's limit fell below the reserve
def test_a_reserve_leaves_at_least_one_request_per_window(limit: int, reserve: int) -> None:
    assert usable_limit(limit, reserve) == (limit - reserve if reserve < limit else 1)


@given(limits, reserves, counts, st.none() | counts)
@example(limit=10, reserve=100, spent=0, remaining=10)
@example(limit=10, reserve=100, spent=3, remaining=7)
def test_what_is_left_never_exceeds_limit_reserve_or_remaining(
    limit: int, reserve: int, spent: int, remaining: int | None
) -> None:
    left = record(limit, spent, remaining).left(reserve)
    assert left >= 0
    assert remaining is None or left <= remaining
    assert left == 0 or left + spent <= usable_limit(limit, reserve)
    assert left == 0 if spent >= usable_limit(limit, reserve) or remaining == 0 else left > 0


@given(limits, reserves, counts, st.none() | counts)
def test_a_process_that_starts_from_a_record_has_what_is_left(
    limit: int, reserve: int, spent: int, remaining: int | None
) -> None:
    quota = Quota(limit=150, window=900, reserve=reserve, now=0.0, host=EPOCH)
    quota.restore(record(limit, spent, remaining), now=0.0, host=EPOCH)
    assert quota.snapshot(0.0).remaining == record(limit, spent, remaining).left(reserve)
