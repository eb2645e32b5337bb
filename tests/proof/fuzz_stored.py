"""Answers of a fuzz in the databases: the same in each, and never an error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import Any

from harvester.core.model import Batch, FailedSlice, RowCounts, Series, Slice
from harvester.core.period import Period
from harvester.errors import HarvesterError
from tests.proof.fuzz_inputs import TOKENS
from tests.support.answers import identity
from tests.support.databases import claimed, query
from tests.support.truth import stored_rows

Tables = Sequence[Counter[tuple[Any, ...]]]

FIRST_SENT = 1_519_000_000
NOW = 1_704_200_000.0
QUERIES = (
    "SELECT epoch, metric, old_value, new_value FROM revisions",
    "SELECT digest, metric, timestamp, value, reason, seen_at FROM reject",
    "SELECT resource, metric, unit FROM metrics",
    "SELECT phone, epoch, calls, js_errors, average_page_load FROM performance",
    "SELECT error, attempts, failed_at FROM failed_slice",
)


def worth_storing(found: Iterable[object], most: int) -> list[Batch]:
    """Return the first `most` answers with any content, each sent later than the one before."""
    batches = (one for one in found if isinstance(one, Batch) and (one.rejects or any(one.values.values())))
    return [replace(batch, sent_at=FIRST_SENT + 100_000 * number) for number, batch in enumerate(islice(batches, most))]


def failures() -> list[FailedSlice]:
    """Return failed slices with hostile texts."""
    day = date(2018, 1, 1)
    texts = [token.decode("utf-8", "surrogateescape") for token in TOKENS]
    return [
        FailedSlice(Slice(Series("main", "volume", f"800555{number:04}", Period.DAY), day, day), "rejected", text * 300)
        for number, text in enumerate(texts)
    ]


async def assert_stored_alike(urls: Sequence[str], batches: Sequence[Batch]) -> Tables:
    """Store the answers in each database, check that the rows are the same, and return them: values, then QUERIES."""
    (results, tables), *others = [await _stored(url, batches) for url in urls]
    refused = [text for text in results if isinstance(text, str)]
    assert not refused, refused[:3]
    for other_results, other_tables in others:
        different = [pair for pair in zip(results, other_results, strict=True) if pair[0] != pair[1]]
        assert not different, different[:3]
        for here, there in zip(tables, other_tables, strict=True):
            assert here == there, (list((here - there).items())[:3], list((there - here).items())[:3])
    return tables


async def _stored(url: str, batches: Sequence[Batch]) -> tuple[list[RowCounts | str], Tables]:
    """Return the result of each commit, and the rows in the end."""
    results: list[RowCounts | str] = []
    async with claimed(url, identity(), now=lambda: NOW) as store:
        for batch in batches:
            try:
                results.append(await store.commit([batch], []))
            except HarvesterError as error:
                results.append(f"{batch}: {error}")
        results.append(await store.commit([], failures()))
    return results, [stored_rows(url), *(Counter(query(url, statement)) for statement in QUERIES)]
