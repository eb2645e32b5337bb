"""Thousands of mutated answers, those that once failed, and the same of them in both databases."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from random import Random

import pytest

from harvester.core.model import Batch, Series, Slice
from harvester.core.period import Period
from harvester.errors import PayloadError
from tests.proof.fuzz_answers import check_answer, run_seed
from tests.proof.fuzz_bytes import CASES, check_input, first_inputs, mutate, read_input, write_input
from tests.proof.fuzz_inputs import CALENDARS, PHONE, Input, make_input
from tests.proof.fuzz_stored import assert_stored_alike, worth_storing

SEEDS = 6_000
STORED = 120
PIECE = Slice(Series("main", "performance", PHONE, Period.DAY), date(2018, 2, 1), date(2018, 2, 8))


def test_mutated_answers_raise_only_errors_of_ours() -> None:
    answers = 0
    for seed in range(SEEDS):
        try:
            answers += isinstance(run_seed(seed), Batch)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {make_input(seed)!r}") from error
    assert SEEDS / 10 < answers < SEEDS  # otherwise too few are answers, or none was refused


def test_the_first_inputs_of_the_guided_fuzz_have_all_kinds() -> None:
    given = make_input(7)
    assert read_input(write_input(given)) == given
    random = Random(0)  # noqa: S311 - no secret
    first = list(first_inputs(300))
    found = {type(check_input(one)) for one in [*first, *(mutate(random, one) for one in first)]}
    assert found > {Batch, PayloadError, type(None)}


@pytest.mark.parametrize("path", sorted(CASES.iterdir()), ids=lambda path: path.name)
def test_inputs_that_once_failed(path: Path) -> None:
    if path.suffix == ".input":  # as the guided fuzz writes it
        check_input(path.read_bytes())
        return
    for calendar in CALENDARS:
        check_answer(Input(path.read_bytes(), PIECE, calendar, 200))


async def test_both_databases_store_the_same(sqlite_url: str, postgres_url: str) -> None:
    batches = worth_storing((check_answer(make_input(seed)) for seed in range(SEEDS)), STORED)
    values, revisions, rejects, *others = await assert_stored_alike((sqlite_url, postgres_url), batches)
    assert min(len(values), len(revisions), len(rejects)) >= 30  # otherwise the test proves nothing
    assert all(others)
