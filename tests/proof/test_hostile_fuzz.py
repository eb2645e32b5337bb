"""A few thousand mutated answers, the ones that once hurt, and what both databases make of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harvester.core.model import Batch, FailedSlice, Series, Slice
from harvester.core.period import Period
from harvester.errors import HarvesterError
from tests.proof.fuzz_answers import judge, run_seed
from tests.proof.fuzz_inputs import CALENDARS, PHONE, TOKENS, Input, make_input
from tests.support.answers import identity
from tests.support.databases import claimed, query
from tests.support.truth import stored_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harvester.core.model import RowCounts

SEEDS = 6_000
STORED = 120
FIRST_SENT = 1_519_000_000
CASES = sorted((Path(__file__).parent / "cases").iterdir())
PIECE = Slice(Series("main", "performance", PHONE, Period.DAY), date(2018, 2, 1), date(2018, 2, 8))
TABLES = (
    "SELECT epoch, metric, old_value, new_value FROM revisions ORDER BY metric, epoch, changed_at",
    "SELECT digest, metric, timestamp, value, reason, seen_at FROM reject ORDER BY digest, series_id",
    "SELECT resource, metric, unit FROM metrics ORDER BY resource, metric",
    "SELECT phone, epoch, calls, js_errors, average_page_load FROM performance ORDER BY epoch",
    "SELECT error, attempts, failed_at FROM failed_slice ORDER BY failed_at, error",
)


def test_thousands_of_mutated_answers_raise_nothing_foreign() -> None:
    answers = 0
    for seed in range(SEEDS):
        try:
            answers += isinstance(run_seed(seed), Batch)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {make_input(seed)!r}") from error
    assert SEEDS / 10 < answers < SEEDS  # else too few came through, or none was refused


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_what_hurt_once_hurts_no_more(path: Path) -> None:
    for calendar in CALENDARS:
        judge(Input(path.read_bytes(), PIECE, calendar, 200))


def batches() -> Iterator[Batch]:
    """Answers that came through, each sent later than the one before."""
    seeds = (judge(make_input(seed)) for seed in range(SEEDS))
    found = (batch for batch in seeds if isinstance(batch, Batch) and (batch.rejects or any(batch.values.values())))
    for number, batch in enumerate(islice(found, STORED)):
        yield replace(batch, sent_at=FIRST_SENT + 100_000 * number)


def failures() -> list[FailedSlice]:
    """Slices given up with the foulest words."""
    day = date(2018, 1, 1)
    texts = [token.decode("utf-8", "surrogateescape") for token in TOKENS]
    return [
        FailedSlice(Slice(Series("main", "volume", f"800555{number:04}", Period.DAY), day, day), text * 300)
        for number, text in enumerate(texts)
    ]


async def stored(url: str) -> tuple[list[RowCounts | str], list[Any]]:
    """What one database says to each answer, and shows in the end."""
    said: list[RowCounts | str] = []
    async with claimed(url, identity(), now=lambda: 1_704_200_000.0) as store:
        for batch in batches():
            try:
                said.append(await store.commit([batch], []))
            except HarvesterError as error:
                said.append(f"{batch}: {error}")
        said.append(await store.commit([], failures()))
    return said, [stored_rows(url), *(query(url, statement) for statement in TABLES)]


async def test_both_databases_judge_alike(sqlite_url: str, postgres_url: str) -> None:
    said_by_sqlite, shown_by_sqlite = await stored(sqlite_url)
    said_by_postgres, shown_by_postgres = await stored(postgres_url)
    assert [words for words in said_by_sqlite if isinstance(words, str)] == []
    assert said_by_sqlite == said_by_postgres
    for one, other in zip(shown_by_sqlite, shown_by_postgres, strict=True):
        assert one == other
    assert all(shown_by_sqlite)
    values, revisions, rejects, *_ = shown_by_sqlite
    assert min(len(values), len(revisions), len(rejects)) >= 30  # else this shows nothing
