"""A few thousand mutated answers, the ones that once hurt, and what both databases make of them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from random import Random

import pytest

from harvester.core.model import Batch, Series, Slice
from harvester.core.period import Period
from harvester.errors import PayloadError
from tests.proof.fuzz_answers import judge, run_seed
from tests.proof.fuzz_bytes import CASES, beginnings, change, judge_bytes, read_input, write_input
from tests.proof.fuzz_inputs import CALENDARS, PHONE, Input, make_input
from tests.proof.fuzz_stored import store_alike, worth_storing

SEEDS = 6_000
STORED = 120
PIECE = Slice(Series("main", "performance", PHONE, Period.DAY), date(2018, 2, 1), date(2018, 2, 8))


def test_thousands_of_mutated_answers_raise_nothing_foreign() -> None:
    answers = 0
    for seed in range(SEEDS):
        try:
            answers += isinstance(run_seed(seed), Batch)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {make_input(seed)!r}") from error
    assert SEEDS / 10 < answers < SEEDS  # else too few came through, or none was refused


def test_the_guided_fuzz_begins_with_inputs_that_say_what_they_should() -> None:
    given = make_input(7)
    assert read_input(write_input(given)) == given
    luck = Random(0)  # noqa: S311 - no secret
    begin = list(beginnings(300))
    found = {type(judge_bytes(one)) for one in [*begin, *(change(luck, one) for one in begin)]}
    assert found > {Batch, PayloadError, type(None)}


@pytest.mark.parametrize("path", sorted(CASES.iterdir()), ids=lambda path: path.name)
def test_what_hurt_once_hurts_no_more(path: Path) -> None:
    if path.suffix == ".input":  # as the guided fuzz writes it down
        judge_bytes(path.read_bytes())
        return
    for calendar in CALENDARS:
        judge(Input(path.read_bytes(), PIECE, calendar, 200))


async def test_both_databases_judge_alike(sqlite_url: str, postgres_url: str) -> None:
    batches = worth_storing((judge(make_input(seed)) for seed in range(SEEDS)), STORED)
    values, revisions, rejects, *others = await store_alike((sqlite_url, postgres_url), batches)
    assert min(len(values), len(revisions), len(rejects)) >= 30  # else this shows nothing
    assert all(others)
