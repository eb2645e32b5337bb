"""Regular check of the database, so that readiness follows it within seconds.

The workers notice a database that reports errors. They do not notice one that answers nothing while they wait, nor one
that could not be written to while they have nothing to write: this check does both. It also is the sign of life without
which a PostgreSQL server ends a session that holds locks.
"""

from __future__ import annotations

from harvester.console.text import duration
from harvester.errors import SchemaError, StoreError
from harvester.events import Event
from harvester.runner.ports import Observer
from harvester.store.claims import Database

PROBE_SECONDS = 5.0  # between two probes
LOOK_SECONDS = 1.0  # between two looks at how long a call has been waiting
OVERDUE_SECONDS = 10.0  # after which a call that waits means that there is no database
STUCK_SECONDS = 120.0  # after which a call that runs means that this process does not work


class DatabaseWatch:
    """State of the database, as calls to it and regular probes show it.

    Args:
        database: the one that the workers use.
        emit: receives an event when a call is overdue, and when calls are answered again.
        overdue: seconds after which a call is overdue.
    """

    def __init__(self, database: Database, emit: Observer, *, overdue: float = OVERDUE_SECONDS) -> None:
        self._database = database
        self._emit = emit
        self._overdue = overdue
        self._error = ""  # of the last probe
        self._reported = False

    @property
    def problem(self) -> str:
        """The reason why there is no database at present; empty while there is one."""
        waiting = self._database.waits_for
        if waiting >= self._overdue:
            doing = "has been in migration for" if self._database.migrates else "has not answered for"
            return f"the database {doing} {duration(waiting)}"
        return self._error

    @property
    def works(self) -> bool:
        """False if a call has been running for longer than every deadline allows."""
        return self._database.runs_for < STUCK_SECONDS

    async def probe(self) -> None:
        """Find out if the database can be written to."""
        try:
            await self._database.probe()
        except SchemaError:
            self._error = ""  # the workers meet the same error, and say what to do
        except StoreError as error:
            self._error = str(error)
        else:
            self._error = ""

    def look(self) -> None:
        """Report a call that is overdue, once until calls are answered again."""
        is_overdue = self._database.waits_for >= self._overdue
        if is_overdue and not self._reported:
            self._reported = True
            self._emit(Event.NO_DATABASE, error=f"{self.problem}; nothing more is requested until it does")
        elif self._reported and not is_overdue and not self._error:
            self._reported = False
            self._emit(Event.DATABASE_BACK)
