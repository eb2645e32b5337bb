"""Ctrl-C while the program is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harvester.__main__ import _INTERRUPTED
from harvester.errors import ExitCode

PROGRAM = """
import runpy, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "harvester.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
runpy.run_module("harvester", run_name="__main__")
"""


def test_an_interrupt_during_the_imports_prints_nothing() -> None:
    checkout = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, cwd=checkout)
    assert (done.returncode, done.stdout, done.stderr) == (ExitCode.INTERRUPTED, "", "")
    assert _INTERRUPTED == ExitCode.INTERRUPTED
