"""Fuzz of mutated answers: whatever a server sends, the result is a checked answer or an error of ours.

    python -m tests.proof.fuzz_answers --inputs 1000000 --minutes 0

With `make fuzz` coverage chooses the inputs (fuzz_guided.py) for the checks in here. In this module seeds choose them,
for `make test` and for machines without the tool. Each input is computed from one seed: a published body or header, or
a random one, with a few mutations that use its structure (numbers, keys, brackets, tags) or only its bytes. A seed that
fails is printed with its input. Put the input into `cases/`: test_hostile_fuzz.py runs everything in there.
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
from harvester.core.metric_catalogue import known_metrics
from harvester.core.model import Batch, Page
from harvester.core.quota import Block, Denied, Quota, Token
from harvester.errors import HarvesterError, SourceError
from harvester.parsing.normalize import normalize
from harvester.parsing.payload import is_document, is_html, parse_credentials, parse_error, parse_metrics
from harvester.redaction import Redactor
from harvester.source.body import read_body
from harvester.source.responses import error_of, named_parameters, quote_text, redact_metrics
from harvester.source.transport import Response
from tests.proof.fuzz_inputs import BYTE_MUTATIONS, PHONE, STATUSES, Input, make_headers, make_input

REDACTOR = Redactor("hunter2-canary", "ab")

_BIGINT = 2**63
_INT = 2**31
_DAY = 86_400  # seconds


def check_answer(given: Input) -> Batch | HarvesterError:
    """Pass an answer through everything that reads it; raise if the result is not sound."""
    body = given.body
    is_html(body), is_document(body)
    text = parse_error(body) or ""
    assert named_parameters(text, PHONE) <= {"start", "end", "period", "phone"}
    assert len(quote_text(text, REDACTOR)) <= 200
    try:
        login, password = parse_credentials(body)
    except HarvesterError:
        pass
    else:
        assert encode_basic_auth(login, password).isascii()
    try:
        refused = error_of(given.status, body, phone=PHONE, generation=1, redactor=REDACTOR)
        assert refused is None or isinstance(refused, SourceError)
        metrics = redact_metrics(parse_metrics(body), known_metrics(given.piece.series.resource), REDACTOR)
        batch = normalize(Page(given.piece, 1_520_000_000, metrics), given.calendar)
    except HarvesterError as error:
        batch, failed = None, error
    if batch is None:
        assert str(failed).isprintable()
        return failed
    assert_sound(batch)
    return batch


def assert_sound(batch: Batch) -> None:
    """Check what the store relies on."""
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


def check_compressed(random: Random, body: bytes) -> None:
    """Check that bytes, compressed, mutated and in pieces, are decoded or an error of ours."""
    coding = random.choice(("gzip", "deflate", "", "br", "gzip, gzip", "GZIP "))
    packed = gzip.compress(body, 1) if random.random() < 0.8 else zlib.compress(body, 1)
    mutated = random.random() < 0.7
    if mutated:
        packed = random.choice(BYTE_MUTATIONS)(random, packed)
    size = random.choice((1 + len(packed), 7, 100))

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(packed), size):
            yield packed[at : at + size]

    try:
        decoded = _result_of(read_body(Response(200, {"content-encoding": coding}, chunks())))
    except HarvesterError:
        return
    assert mutated or not coding or decoded == body


def _result_of(work: Coroutine[None, None, bytes]) -> bytes:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as ended:
        result: bytes = ended.value
        return result
    raise AssertionError("it waited")


def check_headers(random: Random, headers: Callable[[], Mapping[str, str]], answers: int = 12) -> None:
    """Check that with any headers the quota still answers, never spins, and records what a database can store."""
    now, host = 1000.0, 1517461200.0 - random.randrange(2000)
    quota = Quota(
        limit=random.choice((1, 150)), window=random.choice((1, 900)), reserve=random.choice((0, 5)), now=now, host=host
    )
    for _ in range(answers):
        now += random.choice((0.0, 0.01, 1.0, 100.0, 10_000.0))
        answer = quota.acquire(now, random.choice((1, 8)))
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
            assert now < answer.until < math.inf, answer  # otherwise the caller would spin
            now = min(answer.until, now + _DAY)
            continue
        assert isinstance(answer, Token)
        quota_headers = read_quota_headers(headers())
        outcome = random.random()
        now += random.choice((0.0, 0.05, 2.0))
        if outcome < 0.1:
            quota.lost(answer, now)
        elif outcome < 0.2:
            quota.unused(answer)
        else:
            quota.observe(answer, now, random.choice(STATUSES), quota_headers)
        assert abs(quota.earliest_sent(answer)) < _BIGINT
        quota.snapshot(now)


def run_seed(seed: int) -> Batch | HarvesterError:
    """Check the input of one seed."""
    given = make_input(seed)
    found = check_answer(given)
    if seed % 4 == 0:
        check_compressed(Random(seed), given.body[:2000])  # noqa: S311 - no secret
    if seed % 4 == 1:
        random = Random(seed)  # noqa: S311 - no secret
        check_headers(random, lambda: make_headers(random))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the number of seeds, or the minutes, that the arguments say; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="limit; 0: none")
    parser.add_argument("--first", type=int, default=0, help="first seed")
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
