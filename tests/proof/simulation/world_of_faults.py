"""Scenarios: from one seed a server, an account or two, wishes, and what befalls them on which day.

Every fault in here leaves the truth as it is: a harvest that survives it must end with the same table as one that
met none. The last days of a scenario are quiet, so that what must be complete by its end can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from harvester import config
from harvester.core.period import Calendar, Period, WeekStart
from harvester.simulator.faults import CONTENT_FAULTS, FAULT_NAMES, NO_FAULTS, Fault, Faults
from harvester.simulator.options import Account, Options
from harvester.simulator.world import World
from tests.support.in_process import NetworkState

DAY = 86_400.0
HOUR = 3600.0
QUIET_DAYS = 4
WINDOW = 900
URL = "https://api.example/api"
CANARY = "canary-7f3a91"  # in every password, and nowhere else
PHONES = ("ALL", "8005550001", "8005550002", "8005550003", "8005550004")
STRANGER = "9005550000"  # belongs to somebody else
ZONES = (
    "America/New_York",
    "America/New_York",
    "America/St_Johns",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Pacific/Auckland",
)
CRONS = (*("10 6 * * *", "15 3 * * *", "35 21 * * *", "5 11 * * *") * 2, "40 1,13 * * *", "25 */6 * * *")
TROUBLES = ("full", "locked", "read-only", "interrupted")


class What(StrEnum):
    """What can befall them."""

    KILL = "kill"  # the daemon dies `steps` steps after its next tick; `seconds` later there is another one
    RESTART = "restart"  # the daemon is stopped in order and started after `seconds`
    SUSPEND = "suspend"  # the host sleeps
    HOST_CLOCK = "host clock"  # is stepped by `seconds`
    EXPIRE = "expire"  # the temporary credentials die
    REFUSE = "refuse"  # the account is inactive for so long
    WEATHER = "weather"  # `kind`, for so long
    DATABASE = "database"  # `kind` of trouble, for so long
    LOSE = "lose"  # the connection to the database breaks after `steps` calls; `kind`: "after" or "before" the last
    WISH = "wish"  # the configuration changes: `kind`, by a reload or, with `seconds`, a restart
    BACKFILL = "backfill"  # of `kind` "missing" or "refetch", beside the daemon; with `steps` it is killed
    SECOND = "second"  # another daemon beside the first, for so long


@dataclass(frozen=True)
class Happening:
    """One thing that happens `at` seconds after the beginning."""

    at: float
    what: What
    seconds: float = 0.0
    steps: int = 0
    kind: str = ""

    def __str__(self) -> str:
        facts = (f"{self.seconds:.0f} s" * bool(self.seconds), f"{self.steps} steps" * bool(self.steps), self.kind)
        return f"day {self.at / DAY:7.3f}: {self.what.value} {', '.join(filter(None, facts))}"


@dataclass(frozen=True)
class Death:
    """When a daemon dies: so long after its beginning, and so many steps."""

    seconds: float
    steps: int

    def __str__(self) -> str:
        return f"{self.seconds:.0f} s and {self.steps} steps"


@dataclass(frozen=True)
class Wishes:
    """What the configuration says; it changes over a scenario."""

    phones: tuple[str, ...]
    resources: tuple[str, ...]
    periods: tuple[Period, ...]
    first: date
    refresh: str
    settle_days: int
    concurrency: int
    max_days: int


@dataclass(frozen=True)
class Scenario:
    """All of it."""

    seed: int
    start: float  # true epoch second
    days: int
    calendar: Calendar
    accounts: tuple[Account, ...]
    options: Options
    wishes: Wishes
    limit: int  # as configured; the server's own may be another
    reserve: int
    format: str
    host_ahead: float
    infancy: tuple[Death, ...] = ()  # of the first daemon, then of the second, ...
    happenings: tuple[Happening, ...] = field(default=())

    @property
    def calm(self) -> float:
        """The true moment from which on nothing befalls them any more."""
        return self.start + (self.days - QUIET_DAYS) * DAY

    @property
    def end(self) -> float:
        """The true moment at which it ends."""
        return self.start + self.days * DAY

    @property
    def late_days(self) -> int:
        """Days for which a figure changes after its day."""
        return self.accounts[0].world.late_days

    @property
    def steps_server(self) -> bool:
        """Whether the server's clock is stepped."""
        return bool(self.options.clock_steps)

    @property
    def steps_host(self) -> bool:
        """Whether the host's clock is stepped."""
        return any(one.what is What.HOST_CLOCK for one in self.happenings)

    def settings(self, wishes: Wishes, database: Path) -> config.Settings:
        """The configuration that says so."""
        api = config.Api(
            base_url=URL,
            format="xml" if self.format == "xml" else "json",
            max_days_per_request=wishes.max_days,
        )
        quota = config.Quota(limit=self.limit, window=WINDOW, reserve=self.reserve)
        return config.Settings(
            database=config.Database(url=f"sqlite:///{database}"),
            daemon=config.Daemon(refresh=wishes.refresh, settle_days=wishes.settle_days, listen=None),
            api=config.ProcessApi(concurrency=wishes.concurrency),
            accounts={
                account.name: config.Account(
                    name=account.name,
                    login=account.login,
                    tool=None if account.direct else "fuseplus",
                    phones=tuple(config.Phone(number) for number in wishes.phones),
                    resources=wishes.resources,
                    periods=wishes.periods,
                    start=wishes.first,
                    timezone=self.calendar.zone.key,
                    week_start=self.calendar.week_start,
                    api=api,
                    quota=quota,
                    password=config.PasswordSources(
                        environment=config.Secret(place="the simulation", value=SecretStr(account.password))
                    ),
                )
                for account in self.accounts
            },
        )

    def __str__(self) -> str:
        begin = datetime.fromtimestamp(self.start, UTC)
        head = [
            f"seed {self.seed}: {self.days} days from {begin:%Y-%m-%d %H:%M} UTC in {self.calendar.zone.key}",
            (
                f"accounts: {', '.join(account.name + ' (direct)' * account.direct for account in self.accounts)}, "
                f"late_days {self.late_days}, host ahead {self.host_ahead:.1f} s, limit {self.limit}, "
                f"reserve {self.reserve}, {self.format}"
            ),
            f"{self.wishes}",
            f"{self.options}",
            f"first daemons die after {', '.join(map(str, self.infancy))}" * bool(self.infancy),
        ]
        return "\n".join([*head, *map(str, self.happenings)])


def scenario(seed: int, *, days: int = 0) -> Scenario:
    """The scenario of this seed; `days` replaces its length."""
    luck = Random(f"scenario {seed}")  # noqa: S311 - a simulation's luck
    days = days or luck.choice((45, 90, 150, 210))
    zone = luck.choice(ZONES)
    calendar = Calendar(ZoneInfo(zone), luck.choice(list(WeekStart)))
    # Half of them see a change of the clocks.
    born = luck.choice((date(2024, 2, 20), date(2024, 10, 15), date(2024, 1, 1) + timedelta(days=luck.randrange(366))))
    start = datetime(born.year, born.month, born.day, tzinfo=UTC).timestamp() + luck.randrange(int(DAY))
    limit = luck.choice((6, 12, 25, 150))
    neighbour = luck.choice((0, 0, 0, limit // 3))
    late_days = luck.choice((0, 0, 2, 5))
    accounts = tuple(
        _account(luck, name, seed, calendar, late_days) for name in ("main", "other")[: _one_in(luck, 8) + 1]
    )
    drawn = Scenario(
        seed=seed,
        start=start,
        days=days,
        calendar=calendar,
        accounts=accounts,
        options=_options(luck, seed, start, days, limit, neighbour),
        wishes=_wishes(luck, born),
        limit=limit if luck.random() < 0.8 else 2 * limit,  # else a belief that the headers correct
        reserve=luck.choice((0, 0, 2, limit // 3)),
        format=luck.choice(("json", "json", "xml")),
        host_ahead=luck.choice((0.0, luck.uniform(-3, 3), luck.uniform(-2, 2) * HOUR)),
    )
    # Seconds lead into a window that is spent and waited out, steps into what is done at once.
    infancy = tuple(
        Death(luck.choice((0.0, luck.uniform(0, 1.5) * WINDOW)), _steps(luck)) for _ in range(luck.choice((0, 1, 3, 6)))
    )
    return replace(drawn, infancy=infancy, happenings=_happenings(luck, days - QUIET_DAYS))


def _one_in(luck: Random, count: int) -> bool:
    return luck.randrange(count) == 0


def _account(luck: Random, name: str, seed: int, calendar: Calendar, late_days: int) -> Account:
    world = World(seed=seed, calendar=calendar, phones=PHONES[1:], late_days=late_days)
    direct = _one_in(luck, 5)
    return Account(name, f"{name}@example.com", f"{CANARY}-{name}", world=world, direct=direct)


def _options(luck: Random, seed: int, start: float, days: int, limit: int, neighbour: int) -> Options:
    bad = luck.choice((0.0, 0.01, 0.04))
    odds = {kind: bad * luck.random() for kind in FAULT_NAMES if Fault(kind) not in CONTENT_FAULTS}
    faults = Faults(**odds, slow_seconds=luck.choice((1.0, 20.0, 90.0)))
    auth = Faults(server_error=bad, drop=bad, bad_gateway=bad, junk=bad)
    steps: list[tuple[float, float]] = []
    for _ in range(luck.choice((0, 0, 0, 2))):
        moment = start + luck.uniform(1, days - QUIET_DAYS - 2) * DAY
        seconds = luck.choice((-1, 1)) * luck.choice((3.0, 400.0, 900.0, 3 * HOUR))
        steps += [(moment, seconds), (moment + luck.uniform(0.5, 30) * HOUR, -seconds)]
    return Options(
        seed=seed,
        limit=limit,
        window=WINDOW,
        neighbour=neighbour,
        retry_after=_one_in(luck, 3),
        clock_offset=luck.choice((0.0, luck.uniform(-3, 3), luck.uniform(-600, 600))),
        clock_drift=luck.choice((0.0, luck.uniform(-50, 50))),
        clock_origin=start,
        clock_steps=tuple(sorted(steps)),
        latency=luck.choice((0.05, 0.4, 2.0)),
        jitter=luck.choice((0.0, 0.5)),
        faults=faults if bad else NO_FAULTS,
        auth_faults=auth if bad else NO_FAULTS,
        single_pair=_one_in(luck, 4),
        foreign_status=luck.choice((400, 401)),
        max_days=luck.choice((None, None, 92, 31)),
        wide_status=luck.choice((400, 500)),
    )


def _wishes(luck: Random, born: date) -> Wishes:
    return Wishes(
        phones=tuple(luck.sample(PHONES, luck.choice((1, 1, 2, 3)))),
        resources=luck.choice((*(("performance",), ("volume",)) * 3, ("events", "profile"))),
        periods=luck.choice(
            (
                *((Period.DAY,),) * 4,
                (Period.WEEK,),
                (Period.MONTH,),
                (Period.DAY, Period.WEEK),
                (Period.DAY, Period.MONTH),
            )
        ),
        first=born - timedelta(days=luck.choice((0, 5, 60, 60, 400))),
        refresh=luck.choice(CRONS),
        settle_days=luck.choice((1, 3, 3, 6)),
        concurrency=luck.choice((1, 3, 8)),
        max_days=luck.choice((30, 92, 366)),
    )


def _happenings(luck: Random, days: int) -> tuple[Happening, ...]:
    found: list[Happening] = []
    for what, often in (
        (What.KILL, 4), (What.RESTART, 2), (What.SUSPEND, 2), (What.HOST_CLOCK, 1), (What.EXPIRE, 2), (What.REFUSE, 1),
        (What.WEATHER, 3), (What.DATABASE, 2), (What.LOSE, 2), (What.WISH, 3), (What.BACKFILL, 1), (What.SECOND, 1),
    ):  # fmt: skip
        for _ in range(luck.randint(0, often)):
            found += _one(luck, what, luck.uniform(0.0, days) * DAY, days * DAY)
    return tuple(sorted(found, key=lambda one: one.at))


def _one(luck: Random, what: What, at: float, end: float) -> list[Happening]:
    long = min(luck.choice((30.0, 700.0, 2 * HOUR, 9 * HOUR, 2 * DAY)) * luck.uniform(0.5, 1.5), end - at)
    one = Happening(at, what, long)
    match what:
        case What.HOST_CLOCK:
            seconds = luck.choice((-1, 1)) * luck.choice((3.0, 450.0, 2 * HOUR, 7 * HOUR))
            return [replace(one, seconds=seconds), Happening(min(end, at + long), what, -seconds)]
        case What.WISH:
            return _wish(luck, at, end, luck.choice((0.0, 5.0, long)))
        case What.KILL:
            one = replace(one, seconds=luck.choice((5.0, 5.0, long)), steps=_steps(luck))
        case What.WEATHER:
            one = replace(one, kind=luck.choice(list(NetworkState)[1:]).name)
        case What.DATABASE:  # more of it would be the same again
            one = replace(one, seconds=min(long, 2 * HOUR), kind=luck.choice(TROUBLES))
        case What.LOSE:
            one = Happening(at, what, steps=luck.randint(1, 40), kind=luck.choice(("before", "after")))
        case What.BACKFILL:
            one = Happening(at, what, steps=luck.choice((0, 0, _steps(luck))), kind=luck.choice(("missing", "refetch")))
    return [one]


def _wish(luck: Random, at: float, end: float, seconds: float) -> list[Happening]:
    kind = luck.choice(("phone", "fewer", "earlier", "settle", "refresh", "concurrency", "stranger"))
    found = [Happening(at, What.WISH, seconds, kind=kind)]
    if kind == "stranger":  # somebody sees what `status` says of it
        found.append(Happening(min(end, at + luck.uniform(0.1, 9) * DAY), What.WISH, seconds, kind="no stranger"))
    return found


def _steps(luck: Random) -> int:
    return int(2 ** luck.uniform(0, 10.5))


def changed(wishes: Wishes, kind: str, luck: Random) -> Wishes:
    """The wishes after a change of this kind."""
    phones = wishes.phones
    another = tuple(phone for phone in PHONES if phone not in phones)[:1]
    changes: dict[str, Callable[[], Wishes]] = {
        "phone": lambda: replace(wishes, phones=phones + another),
        "fewer": lambda: replace(wishes, phones=phones[: max(1, len(phones) - 1)]),
        "earlier": lambda: replace(wishes, first=wishes.first - timedelta(days=luck.choice((3, 40, 200)))),
        "settle": lambda: replace(wishes, settle_days=luck.choice((1, 2, 4, 8))),
        "refresh": lambda: replace(wishes, refresh=luck.choice(CRONS)),
        "concurrency": lambda: replace(wishes, concurrency=luck.choice((1, 2, 8))),
        "stranger": lambda: replace(wishes, phones=(*phones, STRANGER)),
        "no stranger": lambda: replace(wishes, phones=tuple(phone for phone in phones if phone != STRANGER)),
    }
    return changes[kind]()
