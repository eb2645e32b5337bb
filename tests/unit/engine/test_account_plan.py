from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from harvester.core.coverage import Span
from harvester.core.model import Series
from harvester.core.period import Period
from harvester.engine.account_plan import stored_of
from harvester.errors import PayloadError, SliceRejected, SourceUnavailable
from harvester.store.types import FailedRange

LINE = Series("main", "volume", "8005551234", Period.DAY)
DAY = date(2024, 1, 7)

messages = st.text() | st.builds(lambda detail: str(SliceRejected(detail)), st.text())


@given(st.sampled_from([SliceRejected.code, SourceUnavailable.code, PayloadError.code, "error"]), messages)
def test_a_refused_slice_is_recognised_by_its_code_alone(code: str, message: str) -> None:
    stored = stored_of({}, [FailedRange(LINE, DAY, DAY, code, message, 0, 1)])
    assert stored.failed == {LINE: [Span(DAY, DAY)]}
    assert stored.refused == ({LINE: [Span(DAY, DAY)]} if code == SliceRejected.code else {})
