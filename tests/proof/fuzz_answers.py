"""Mutated answers, by the million: whatever a server sends, nothing comes out but a judged answer or an error of ours.

    python -m tests.proof.fuzz_answers --inputs 1000000 --minutes 0

`make fuzz` has coverage choose the inputs (fuzz_guided.py) and these judges; here seeds choose them, for `make test`
and for machines that lack the tool. Each input follows from one seed: a published body or header, or one made up, with
a few mutations that know its structure (numbers, keys, brackets, tags) or know nothing. A seed that fails is printed
with its input; put the input into `cases/`, where test_hostile_fuzz.py keeps it for ever.
"""

from __future__ import annotations

import argparse
import gzip
import math
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from random import Random

from aiohttp import encode_basic_auth

from harvester.core.headers import read_quota_headers
from harvester.core.model import Batch, Page
from harvester.core.normalize import normalize
from harvester.core.payload import is_document, is_html, parse_credentials, parse_error, parse_metrics
from harvester.core.quota import Block, Denied, Quota, Token
from harvester.errors import HarvesterError, SourceError
from harvester.redaction import Redactor
from harvester.source.body import read_body
from harvester.source.responses import error_of, named_parameters
from harvester.source.transport import Response
from tests.proof.fuzz_inputs import BLIND, PHONE, STATUSES, Input, make_headers, make_input

_BIGINT = 2**63
_INT = 2**31
_A_DAY = 86_400


def judge(given: Input) -> Batch | HarvesterError:
    """Take an answer through all that reads it; anything but a sound result raises."""
    body = given.body
    is_html(body), is_document(body)
    text = parse_error(body)
    assert named_parameters(text or "", PHONE) <= {"start", "end", "period", "phone"}
    try:
        login, password = parse_credentials(body)
    except HarvesterError:
        pass
    else:
        assert encode_basic_auth(login, password).isascii()
    try:
        refused = error_of(given.status, body, phone=PHONE, generation=1, redactor=Redactor())
        assert refused is None or isinstance(refused, SourceError)
        batch = normalize(Page(given.piece, 1_520_000_000, parse_metrics(body)), given.calendar)
    except HarvesterError as error:
        batch, failed = None, error
    if batch is None:
        assert str(failed).isprintable()
        return failed
    assert_sound(batch)
    return batch


def assert_sound(batch: Batch) -> None:
    """What the store may rely on."""
    for name, values in batch.values.items():
        assert 0 < len(name) <= 64
        assert name.isprintable()
        assert len(dict(values)) == len(values)
        assert dict(values).keys() <= batch.grid.keys()
        for _, value in values:
            if value is not None:
                assert isinstance(value, float)
                assert math.isfinite(value)
                assert value or math.copysign(1, value) > 0, "minus zero: the databases print it differently"
    for reject in batch.rejects:
        assert all(text.isprintable() for text in reject)
    assert set(batch.absent) <= set(batch.grid.values())


def judge_coding(luck: Random, body: bytes) -> None:
    """The same bytes compressed, spoiled and in pieces: decoded, or an error of ours."""
    coding = luck.choice(("gzip", "deflate", "", "br", "gzip, gzip", "GZIP "))
    packed = gzip.compress(body, 1) if luck.random() < 0.8 else zlib.compress(body, 1)
    spoiled = luck.random() < 0.7
    if spoiled:
        packed = luck.choice(BLIND)(luck, packed)
    size = luck.choice((1 + len(packed), 7, 100))

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(packed), size):
            yield packed[at : at + size]

    try:
        decoded = _finished(read_body(Response(200, {"content-encoding": coding}, chunks())))
    except HarvesterError:
        return
    assert spoiled or not coding or decoded == body


def _finished(work: Coroutine[None, None, bytes]) -> bytes:
    """The result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: bytes = ended.value
        return result
    raise AssertionError("it waited")


def judge_headers(luck: Random, headers: Callable[[], Mapping[str, str]], answers: int = 12) -> None:
    """A quota that hears nonsense still answers, spins never, and writes down what a database holds."""
    now, host = 1000.0, 1517461200.0 - luck.randrange(2000)
    quota = Quota(
        limit=luck.choice((1, 150)), window=luck.choice((1, 900)), reserve=luck.choice((0, 5)), now=now, host=host
    )
    for _ in range(answers):
        now += luck.choice((0.0, 0.01, 1.0, 100.0, 10_000.0))
        answer = quota.acquire(now, luck.choice((1, 8)))
        while isinstance(answer, Block):
            record = quota.record(answer, now, host + now)
            assert 0 < record.limit < _INT
            assert abs(record.spent) < _INT
            assert record.remaining is None or 0 <= record.remaining < _INT
            assert record.resets_at is not None
            assert abs(record.resets_at) < _BIGINT
            assert math.isfinite(record.server_ahead)
            quota.stored(answer)
            answer = quota.acquire(now, 1)
        if isinstance(answer, Denied):
            assert now < answer.until < math.inf, answer  # nothing spins
            now = min(answer.until, now + _A_DAY)
            continue
        assert isinstance(answer, Token)
        facts = read_quota_headers(headers())
        fate = luck.random()
        now += luck.choice((0.0, 0.05, 2.0))
        if fate < 0.1:
            quota.lost(answer, now)
        elif fate < 0.2:
            quota.unused(answer)
        else:
            quota.observe(answer, now, luck.choice(STATUSES), facts)
        assert abs(quota.earliest_sent(answer)) < _BIGINT
        quota.snapshot(now)


def run_seed(seed: int) -> Batch | HarvesterError:
    """All of one seed."""
    given = make_input(seed)
    found = judge(given)
    if seed % 4 == 0:
        judge_coding(Random(seed), given.body[:2000])  # noqa: S311 - no secret
    if seed % 4 == 1:
        luck = Random(seed)  # noqa: S311 - no secret
        judge_headers(luck, lambda: make_headers(luck))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run seeds until so many were run or so many minutes passed; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="at most; 0: as long as it takes")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    stored = done = 0
    for seed in range(options.first, options.first + options.inputs):
        try:
            stored += not isinstance(run_seed(seed), HarvesterError)
        except Exception:
            sys.stderr.write(f"seed {seed} fails: {make_input(seed)!r}\n")
            raise
        done += 1
        if options.minutes and time.monotonic() - began > 60 * options.minutes:
            break
    seconds = time.monotonic() - began
    sys.stdout.write(f"fuzz: {done:,} inputs in {seconds:.0f} s, {stored:,} of them answers, no foreign exception\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
