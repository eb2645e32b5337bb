"""Simulated company of the demonstration, and the settings for it. The data are the same in every run.

The quota works as the real one, but is smaller and its windows are shorter, so that the run waits for several windows
within half a minute. A day is final as soon as it is over, so a second run on the same day requests nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from harvester import config
from harvester.core.model import RESOURCES
from harvester.core.period import Calendar, Period, WeekStart
from harvester.simulator import options
from harvester.simulator.api import SimulatedApi
from harvester.simulator.world import World

ACCOUNT: Final = "demo"
DAYS: Final = 365
LIMIT: Final = 55  # requests per window
WINDOW: Final = 6  # seconds
ALL_NAME: Final = "All numbers"
_DAYS_PER_REQUEST: Final = 184  # so that a year takes two requests per series
_ZONE: Final = "America/New_York"
_TOOL: Final = "fuseplus"
_LOGIN: Final = "demo@example.com"
_PASSWORD: Final = "demo"  # noqa: S105 - it opens a simulation
_SEED: Final = 1
_LATENCY: Final = 0.04  # seconds

_NAMES: Final = (
    *("Orders", "Returns", "Billing", "Payments", "Shipping", "Tracking", "Warranty", "Repairs", "Spare parts"),
    *("Bookings", "Changes", "Check-in", "Lost items", "Loyalty", "Gift cards", "Accounts", "Claims"),
    *("Roadside", "Pharmacy", "Night line", "Stores", "Hours", "Surveys", "Complaints", "Press"),
    *("Dealers", "Suppliers", "Payroll", "IT desk", "Front desk"),
)
PHONES: Final = tuple(config.Phone(f"80055501{at:02}", name) for at, name in enumerate(_NAMES, 1))


def simulated() -> SimulatedApi:
    """Return the simulated server."""
    world = World(seed=_SEED, calendar=calendar(), phones=tuple(phone.number for phone in PHONES))
    customer = options.Account(name=ACCOUNT, login=_LOGIN, password=_PASSWORD, tool=_TOOL, world=world)
    server_options = options.Options(seed=_SEED, limit=LIMIT, window=WINDOW, latency=_LATENCY, jitter=_LATENCY)
    return SimulatedApi([customer], server_options)


def calendar() -> Calendar:
    """Return the calendar of the company."""
    return Calendar(ZoneInfo(_ZONE), WeekStart.SUNDAY)


def settings(database: Path, base_url: str) -> config.Settings:
    """Return the settings for the company, as a configuration file would give them.

    Args:
        database: the SQLite file.
        base_url: address of the simulated server.
    """
    secret = config.Secret(place="the demonstration", value=SecretStr(_PASSWORD))
    api = config.Api(base_url=base_url, max_days_per_request=_DAYS_PER_REQUEST)
    quota = config.Quota(limit=LIMIT, window=WINDOW)
    account = config.Account(
        name=ACCOUNT,
        login=_LOGIN,
        tool=_TOOL,
        phones=(config.Phone("ALL", ALL_NAME), *PHONES),
        resources=RESOURCES,
        periods=(Period.DAY,),
        timezone=_ZONE,
        week_start=WeekStart.SUNDAY,
        api=api,
        quota=quota,
        password=config.PasswordSources(files=secret),
    )
    return config.Settings(
        database=config.Database(url=f"sqlite:///{database}"),
        daemon=config.Daemon(settle_days=0),
        accounts={ACCOUNT: account},
    )
