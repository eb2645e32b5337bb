"""`python -m bench [NAME...]`: print a table of ratios; without names measure all and write docs/benchmarks.md."""

from __future__ import annotations

import sys
from types import ModuleType

from bench import contest, end_to_end, growth, memory, quota, report, stages, startup
from bench.table import HEADINGS, line

MEASUREMENTS: dict[str, ModuleType] = {
    "startup": startup,
    "quota": quota,
    "end_to_end": end_to_end,
    "stages": stages,
    "memory": memory,
    "growth": growth,
    "peers": contest,
}


def main(names: list[str]) -> None:
    if unknown := set(names) - MEASUREMENTS.keys():
        sys.exit(f"bench: no measurement {', '.join(sorted(unknown))}; known: {', '.join(MEASUREMENTS)}")
    print(line(HEADINGS))
    chapters = []
    for name in names or MEASUREMENTS:
        rows = []
        for row in MEASUREMENTS[name].measure():
            print(line(row.cells()), flush=True)
            rows.append(row)
        chapters.append((name, MEASUREMENTS[name], rows))
    report.write(chapters, whole=not names)


if __name__ == "__main__":
    main(sys.argv[1:])
