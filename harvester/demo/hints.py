"""Commands to try after the demonstration, as they can be pasted into a shell."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

_QUERY = "SELECT local_date, sum(calls) FROM performance_day GROUP BY local_date ORDER BY 2 DESC LIMIT 5"


def commands(database: str) -> list[str]:
    """Return two or three commands that read the demonstration's database.

    Args:
        database: the file as the user wrote it.
    """
    program, file = program_name(sys.argv[0]), shlex.quote(database)
    found = [
        f"{program} status --db {file}",
        f"{program} export performance --db {file} --start yesterday",
    ]
    if shutil.which("sqlite3"):
        found.append(f"sqlite3 {file} {shlex.quote(_QUERY)}")
    return found


def program_name(called: str) -> str:
    """Return the command that starts this program from the present directory.

    Args:
        called: the first argument of the process.
    """
    path = Path(called)
    if path.name != "harvester":
        return f"{_shorter(sys.executable)} -m harvester"
    on_path = shutil.which("harvester")
    if on_path is not None and path.exists() and Path(on_path).samefile(path):
        return "harvester"
    return _shorter(str(path))


def _shorter(path: str) -> str:
    """Return the path, relative where that is shorter."""
    near = os.path.relpath(path)
    return shlex.quote(min(near if os.sep in near else f".{os.sep}{near}", str(Path(path).absolute()), key=len))
