"""`make fuzz`: hostile answers, each a mutation of those that reached new code in the readers of answers.

    python -m tests.proof.fuzz_guided --inputs 1000000 --minutes 0

A child process runs libFuzzer (atheris) over the instrumented readers of answers; fuzz_bytes.py defines the inputs,
fuzz_answers.py checks the results. An input that reached new code is stored in .fuzz/corpus, where the next run
continues. In the end both databases store the answers in the corpus, and must have the same rows. An input that fails
is stored in .fuzz/failed and runs first in later runs; copied to cases/NAME.input, it is part of `make test`. Without
atheris the seeded inputs of fuzz_answers.py run instead.
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

# Import nothing of the harvester here: the child imports it instrumented.

CHECKOUT = Path(__file__).parents[2]
FOLDER = CHECKOUT / ".fuzz"  # ignored by git; `make clean` removes it
CORPUS, FAILED, LOG, ANSWERS = FOLDER / "corpus", FOLDER / "failed", FOLDER / "log", FOLDER / "answers"
SEEDS = 6_000  # of the seeded fuzz, among the first inputs
MAX_INPUT_BYTES = 20_000  # enough for whole numbers, nesting and rejects beyond their limits
MAX_CPU_SECONDS = 2  # per input; wall-clock time also passes while the machine is suspended
MAX_CPU_SECONDS_PER_BYTE = 20e-6  # more; instrumented code is ten times slower
LIBFUZZER_SHARE = 0.3  # of the mutations are those of libFuzzer, which use the comparisons in the code
STORED = 1_000  # answers of the corpus that both databases store
FAILS = "fails: "
_CHILD = "child"
_PROGRESS = re.compile(r"^#(\d+)\s.* cov: (\d+) ft: (\d+) ", re.MULTILINE)
_WRITTEN = re.compile(r"Test unit written to (.+)")
_LOG_TAIL = 3_000  # characters printed of the log after a failure without an exception


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the number of inputs, or the minutes, that the arguments say; return 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0.0, help="limit; 0: none")
    options = parser.parse_args(arguments)
    if find_spec("atheris") is None:
        from tests.proof import fuzz_answers

        sys.stdout.write("fuzz: atheris is not installed, so seeds choose the inputs, not coverage\n")
        return fuzz_answers.main(arguments)
    began = time.monotonic()
    if not _run_child(options.inputs, options.minutes):
        return 1
    seconds = time.monotonic() - began
    done, edges, features = map(int, _PROGRESS.findall(LOG.read_text(errors="replace"))[-1])
    stored, databases = _check_databases()
    sys.stdout.write(
        f"fuzz: {done:,} inputs in {seconds:.0f} s, {ANSWERS.stat().st_size:,} of them answers, {edges:,} edges and "
        f"{features:,} features covered, no foreign exception; {stored:,} answers stored alike in {databases}\n"
    )
    return 0


def _run_child(inputs: int, minutes: float) -> bool:
    """Return True if no input failed; print the input that did."""
    for folder in (CORPUS, FAILED):
        folder.mkdir(parents=True, exist_ok=True)
    ANSWERS.write_bytes(b"")
    with TemporaryDirectory() as first, LOG.open("wb") as log:
        _write_first_inputs(Path(first))
        limits = [f"-runs={inputs}", f"-max_total_time={ceil(60 * minutes)}", "-timeout=86400"]
        settings = [
            f"-max_len={MAX_INPUT_BYTES}",
            "-mutate_depth=1",
            "-use_value_profile=1",
            f"-artifact_prefix={FAILED}/",
        ]
        # One mutation at a time, because two make most answers invalid. libFuzzer writes to the first of the folders.
        command = [sys.executable, "-W", "error", "-m", "tests.proof.fuzz_guided", _CHILD, *limits, *settings]
        command += map(str, (CORPUS, FAILED, first))
        child = subprocess.run(command, cwd=CHECKOUT, stdout=log, stderr=subprocess.STDOUT, check=False)
    if child.returncode == 0:
        return True
    log_text = LOG.read_text(errors="replace")
    at = log_text.find(FAILS)
    sys.stderr.write(
        log_text[at:].partition("\n==")[0] if at >= 0 else log_text[-_LOG_TAIL:]
    )  # the rest is of libFuzzer
    if written := _WRITTEN.search(log_text):
        sys.stderr.write(
            f"\nfuzz: the input is {written[1]}; copy it to tests/proof/cases/NAME.input to make it a test\n"
        )
    return False


def _write_first_inputs(folder: Path) -> None:
    from tests.proof.fuzz_bytes import first_inputs

    for number, data in enumerate(first_inputs(SEEDS)):
        (folder / str(number)).write_bytes(data)


def _check_databases() -> tuple[int, str]:
    """Store the answers of the corpus in each kind of database; return how many, and in which."""
    from tests.proof.fuzz_bytes import check_input
    from tests.proof.fuzz_stored import assert_stored_alike, worth_storing
    from tests.support.postgres import binaries, running_cluster

    newest = sorted(CORPUS.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    batches = worth_storing((check_input(path.read_bytes()) for path in newest), STORED)
    with ExitStack() as stack:
        urls = [f"sqlite:///{stack.enter_context(TemporaryDirectory())}/store.db"]
        if binaries():
            urls.append(stack.enter_context(stack.enter_context(running_cluster()).database()))
        asyncio.run(assert_stored_alike(urls, batches))
    return len(batches), "SQLite and PostgreSQL" if len(urls) > 1 else "SQLite (PostgreSQL is not installed)"


def fuzz(arguments: list[str]) -> None:
    """Run inputs until libFuzzer ends the process, as its own arguments say."""
    import atheris

    with atheris.instrument_imports(include=["harvester", "email"]):  # email reads dates
        from harvester.core.model import Batch
        from tests.proof.fuzz_bytes import HEAD, check_input, describe
        from tests.proof.fuzz_bytes import mutate as mutate_structure

    def run(data: bytes) -> None:
        signal.setitimer(signal.ITIMER_PROF, MAX_CPU_SECONDS + MAX_CPU_SECONDS_PER_BYTE * len(data))
        try:
            if isinstance(check_input(data), Batch):
                answers.write(b".")  # at once, because no code of ours runs when libFuzzer ends the process
        except Exception:
            sys.stderr.write(f"{FAILS}{describe(data)}\n")
            raise

    def mutate(data: bytes, max_bytes: int, seed: int) -> bytes:
        random = Random(seed)  # noqa: S311 - no secret
        if len(data) < HEAD or random.random() < LIBFUZZER_SHARE:
            return bytes(atheris.Mutate(data, max_bytes))
        return mutate_structure(random, data)[:max_bytes]

    signal.signal(signal.SIGPROF, _too_slow)
    with ANSWERS.open("ab", buffering=0) as answers:
        atheris.Setup(arguments, run, custom_mutator=mutate)
        atheris.Fuzz()


def _too_slow(_: int, __: object) -> None:
    raise TimeoutError(f"an input takes more than {MAX_CPU_SECONDS} s of processor time")


if __name__ == "__main__":
    if sys.argv[1:2] == [_CHILD]:
        fuzz([sys.argv[0], *sys.argv[2:]])
    sys.exit(main())
