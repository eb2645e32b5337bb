"""Run a command and record its cost: `python -m bench.spent FILE COMMAND...` writes seconds, CPU and memory.

It is a small process of its own, because the kernel counts the memory of a parent at the fork as the child's.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main(file: str, command: list[str]) -> int:
    begun = time.perf_counter()
    process = os.posix_spawn(command[0], command, os.environ)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - begun
    per_megabyte = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    with open(file, "w", encoding="utf-8") as out:  # noqa: PTH123 - without the 10 ms and 2 MB of pathlib
        cpu, megabytes = usage.ru_utime + usage.ru_stime, usage.ru_maxrss / per_megabyte
        json.dump({"seconds": seconds, "cpu": cpu, "megabytes": megabytes}, out)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
