from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from harvester.config import Account, Phone
from harvester.core.coverage import Span
from harvester.core.model import RESOURCES, Series
from harvester.core.period import Period
from harvester.engine.account_plan import configured_series, series_count, stored_of
from harvester.errors import PayloadError, SliceRejected, SourceUnavailable
from harvester.store.types import FailedRange

LINE = Series("main", "volume", "8005551234", Period.DAY)
DAY = date(2024, 1, 7)

messages = st.text() | st.builds(lambda detail: str(SliceRejected(detail)), st.text())


@given(st.sampled_from([SliceRejected.code, SourceUnavailable.code, PayloadError.code, "error"]), messages)
def test_a_refused_slice_is_recognised_by_its_code_alone(code: str, message: str) -> None:
    stored = stored_of({}, [FailedRange(LINE, DAY, DAY, code, message, 0, 1)], {})
    assert stored.failed == {LINE: [Span(DAY, DAY)]}
    assert stored.refused == ({LINE: [Span(DAY, DAY)]} if code == SliceRejected.code else {})


@given(
    st.lists(st.from_regex(r"[1-9][0-9]{9}", fullmatch=True), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(RESOURCES), min_size=1, unique=True),
    st.lists(st.sampled_from(Period), min_size=1, unique=True),
)
def test_every_combination_is_one_series(numbers: list[str], resources: list[str], periods: list[Period]) -> None:
    account = Account(
        name="main",
        login="login",
        phones=tuple(map(Phone, numbers)),
        resources=tuple(resources),
        periods=tuple(periods),
    )
    series = configured_series(account)
    assert len(series) == len(set(series)) == series_count(account)
    assert {one.phone for one in series} == set(numbers)
    assert {one.resource for one in series} == set(resources)
    assert {one.period for one in series} == set(periods)
