"""Judged answers for the store's tests, built without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from harvester.core.model import Batch, Reject, Series, Slice
from harvester.core.period import Calendar, Period, WeekStart
from harvester.store.types import AccountIdentity

CALENDAR = Calendar(ZoneInfo("America/New_York"), WeekStart.SUNDAY)
SETTLE_DAYS = 3
JANUARY = date(2024, 1, 1)


def identity(name: str = "main", **changes: object) -> AccountIdentity:
    """An account in New York."""
    values: dict[str, object] = {
        "base_url": "https://example.test/api",
        "timezone": "America/New_York",
        "week_start": WeekStart.SUNDAY,
        "settle_days": SETTLE_DAYS,
        "start": JANUARY,
        "phones": (("8005551234", "Front desk"), ("ALL", None)),
    }
    return AccountIdentity(name=name, **{**values, **changes})  # type: ignore[arg-type]


def series(
    phone: str = "8005551234", resource: str = "performance", period: Period = Period.DAY, account: str = "main"
) -> Series:
    """A series of the account."""
    return Series(account, resource, phone, period)


def at(day: date, hour: int = 12) -> int:
    """An epoch second on a day of the account's zone."""
    return int(datetime(day.year, day.month, day.day, hour, tzinfo=CALENDAR.zone).astimezone(UTC).timestamp())


def answer(
    first: date,
    values: Mapping[str, Sequence[float | None]],
    *,
    days: int | None = None,
    of: Series | None = None,
    sent_at: int | None = None,
    absent: Sequence[date] = (),
    rejects: Sequence[Reject] = (),
) -> Batch:
    """An answer to periods from `first` on; each metric's values belong to the first periods of it, in order.

    Args:
        first: the first day asked for.
        values: by metric.
        days: how many days were asked for; by default one for each value.
        of: whose series.
        sent_at: epoch second; by default ten days after the slice.
        absent: the absent periods.
        rejects: what could not be taken.
    """
    one = of or series()
    count = days if days is not None else max(map(len, values.values()), default=1)
    last = first + timedelta(count - 1)
    grid = CALENDAR.grid(one.period, first, last)
    epochs = list(grid)
    return Batch(
        slice=Slice(one, first, last),
        sent_at=sent_at if sent_at is not None else at(last + timedelta(10)),
        grid=grid,
        values={name: list(zip(epochs, numbers, strict=False)) for name, numbers in values.items()},
        rejects=rejects,
        absent=absent,
    )
