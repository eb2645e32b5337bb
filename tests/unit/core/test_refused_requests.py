from __future__ import annotations

import pytest

from harvester.core.refused_requests import RefusedRequests


@pytest.mark.parametrize(("status", "key"), [(404, "api.base_url"), (405, "api.method"), (402, "for each of them")])
def test_three_phones_that_are_refused_alike_are_enough(status: int, key: str) -> None:
    refused = RefusedRequests()
    for phone in "123":
        assert not refused.suspects_account(40)
        refused.refused(status, phone, searched=False)
    assert refused.suspects_account(40)
    assert key in refused.remedy(f"{status}: No.")


def test_one_phone_that_is_refused_three_times_is_enough_where_it_is_the_only_one() -> None:
    refused = RefusedRequests()
    for _ in range(3):
        refused.refused(404, "1", searched=False)
    assert refused.suspects_account(1)
    assert not refused.suspects_account(2)


def test_a_400_counts_once_its_search_has_failed() -> None:
    refused = RefusedRequests()
    for phone in "1234567":
        refused.refused(400, phone, searched=False)
    assert not refused.suspects_account(40)
    assert refused.one_at_a_time
    for phone in "12":
        refused.refused(400, phone, searched=True)
    assert refused.suspects_account(40)


@pytest.mark.parametrize("status", [None, 200, 301, 401, 403, 408, 429, 500, 503])
def test_other_statuses_count_for_nothing(status: int | None) -> None:
    refused = RefusedRequests()
    for phone in "123":
        refused.refused(status, phone, searched=True)
    assert not refused.suspects_account(3)
    assert not refused.one_at_a_time


def test_another_status_and_an_answer_end_the_count() -> None:
    refused = RefusedRequests()
    for phone in "12":
        refused.refused(404, phone, searched=False)
    refused.refused(405, "3", searched=False)
    assert not refused.suspects_account(3)
    refused.end()
    for phone in "123":
        refused.refused(405, phone, searched=False)
    assert not refused.suspects_account(3)
