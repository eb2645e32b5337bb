"""`python -m bench [NAME...]`: a table of ratios, no verdict."""

from __future__ import annotations

import sys

from bench import quota, startup
from bench.table import HEADINGS, line

MEASUREMENTS = {"startup": startup.measure, "quota": quota.measure}


def main(names: list[str]) -> None:
    if unknown := set(names) - MEASUREMENTS.keys():
        sys.exit(f"bench: no measurement {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    print(line(HEADINGS))
    for name in names or MEASUREMENTS:
        for row in MEASUREMENTS[name]():
            print(line(row.cells()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
