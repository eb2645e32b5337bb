"""`make fuzz`: hostile answers by the million, each grown from those that reached something new in what reads them.

    python -m tests.proof.fuzz_guided --inputs 1000000 --minutes 0

A child process runs libFuzzer (atheris) over the readers of answers, instrumented; fuzz_bytes.py says what an input
is, fuzz_answers.py judges it. What reached something new is kept in .fuzz/corpus, where the next run goes on; in the
end both databases store the answers among it, and must show the same. An input that fails is kept in .fuzz/failed and
is run first from then on; copied to cases/NAME.input, it is in `make test` for ever. Without atheris the seeded inputs
of fuzz_answers.py are run instead.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

# Nothing of the harvester's is imported up here: what the child imports is to be instrumented.

CHECKOUT = Path(__file__).parents[2]
KEPT = CHECKOUT / ".fuzz"  # ignored by git; `make clean` removes it
CORPUS, FAILED, LOG, ANSWERS = KEPT / "corpus", KEPT / "failed", KEPT / "log", KEPT / "answers"
SEEDS = 6_000  # of the seeded fuzz, to begin with
LONGEST = 20_000  # bytes of an input: enough for whole numbers, nesting and rejects beyond their bounds
SLOWEST = 20  # seconds of the processor's for an input; a clock on the wall also runs while a machine sleeps
NATIVE = 0.3  # of the mutations are libFuzzer's own, which know what was compared with what
STORED = 1_000  # answers of the corpus that both databases store
FAILS = "fails: "
_HUNT = "hunt"
_PROGRESS = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+) ", re.MULTILINE)
_WRITTEN = re.compile(r"Test unit written to (.+)")
_SHOWN = 3_000  # characters of what is told of a failure without an exception


def main(arguments: Sequence[str] | None = None) -> int:
    """Run inputs until so many were run or so many minutes passed; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="at most; 0: as long as it takes")
    options = parser.parse_args(arguments)
    if find_spec("atheris") is None:
        from tests.proof import fuzz_answers

        sys.stdout.write("fuzz: there is no atheris for this Python on this machine, so seeds choose, not coverage\n")
        return fuzz_answers.main(arguments)
    began = time.monotonic()
    if not _hunted(options.inputs, options.minutes):
        return 1
    seconds = time.monotonic() - began
    done, edges, features = map(int, _PROGRESS.findall(LOG.read_text(errors="replace"))[-1])
    stored, databases = _stored_alike()
    sys.stdout.write(
        f"fuzz: {done:,} inputs in {seconds:.0f} s, {ANSWERS.stat().st_size:,} of them answers, {edges:,} edges and "
        f"{features:,} features covered, no foreign exception; {stored:,} answers stored alike in {databases}\n"
    )
    return 0


def _hunted(inputs: int, minutes: float) -> bool:
    """Whether a child found nothing; if it did, that is told."""
    for folder in (CORPUS, FAILED):
        folder.mkdir(parents=True, exist_ok=True)
    ANSWERS.write_bytes(b"")
    with TemporaryDirectory() as begin, LOG.open("wb") as log:
        _write_beginnings(Path(begin))
        limits = [f"-runs={inputs}", f"-max_total_time={ceil(60 * minutes)}", "-timeout=86400"]
        ways = [f"-max_len={LONGEST}", "-mutate_depth=1", "-use_value_profile=1", f"-artifact_prefix={FAILED}/"]
        # One mutation at a time, since two spoil most answers. Of the folders the first one takes what is found.
        command = [sys.executable, "-W", "error", "-m", "tests.proof.fuzz_guided", _HUNT, *limits, *ways]
        command += map(str, (CORPUS, FAILED, begin))
        child = subprocess.run(command, cwd=CHECKOUT, stdout=log, stderr=subprocess.STDOUT, check=False)
    if child.returncode == 0:
        return True
    told = LOG.read_text(errors="replace")
    at = told.find(FAILS)
    sys.stderr.write(told[at:].partition("\n==")[0] if at >= 0 else told[-_SHOWN:])  # the rest is libFuzzer's own
    if written := _WRITTEN.search(told):
        sys.stderr.write(
            f"\nfuzz: the input is {written[1]}; copied to tests/proof/cases/NAME.input, it stays a test\n"
        )
    return False


def _write_beginnings(folder: Path) -> None:
    from tests.proof.fuzz_bytes import beginnings

    for number, data in enumerate(beginnings(SEEDS)):
        (folder / str(number)).write_bytes(data)


def _stored_alike() -> tuple[int, str]:
    """Store the corpus's answers in each kind of database; returns how many, and in which."""
    from tests.proof.fuzz_bytes import judge_bytes
    from tests.proof.fuzz_stored import store_alike, worth_storing
    from tests.support.postgres import binaries, running_cluster

    newest = sorted(CORPUS.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    batches = worth_storing((judge_bytes(path.read_bytes()) for path in newest), STORED)
    with ExitStack() as stack:
        urls = [f"sqlite:///{stack.enter_context(TemporaryDirectory())}/store.db"]
        if binaries():
            urls.append(stack.enter_context(stack.enter_context(running_cluster()).database()))
        asyncio.run(store_alike(urls, batches))
    return len(batches), "SQLite and PostgreSQL" if len(urls) > 1 else "SQLite (there is no PostgreSQL here)"


def hunt(arguments: list[str]) -> None:
    """Run inputs until libFuzzer, told by its own arguments, ends the process."""
    import atheris

    with atheris.instrument_imports(include=["harvester", "email"]):  # email reads dates
        from harvester.core.model import Batch
        from tests.proof.fuzz_bytes import HEAD, change, judge_bytes, told

    def run(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, SLOWEST)
        try:
            if isinstance(judge_bytes(data), Batch):
                answers.write(b".")  # one for each: nothing of ours runs when libFuzzer ends the process
        except Exception:
            sys.stderr.write(f"{FAILS}{told(data)}\n")
            raise

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        luck = Random(seed)  # noqa: S311 - no secret
        if len(data) < HEAD or luck.random() < NATIVE:
            return bytes(atheris.Mutate(data, longest))
        return change(luck, data)[:longest]

    signal.signal(signal.SIGPROF, _too_slow)
    with ANSWERS.open("ab", buffering=0) as answers:
        atheris.Setup(arguments, run, custom_mutator=mutate)
        atheris.Fuzz()


def _too_slow(_: int, __: object) -> None:
    raise TimeoutError(f"an input takes more than {SLOWEST} s")


if __name__ == "__main__":
    if sys.argv[1:2] == [_HUNT]:
        hunt([sys.argv[0], *sys.argv[2:]])
    sys.exit(main())
