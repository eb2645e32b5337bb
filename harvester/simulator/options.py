"""Settings of the simulator. Where the behaviour of the real server is unknown, the default is the likely one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from harvester.simulator.faults import NO_FAULTS, Fault, Faults
from harvester.simulator.world import World

AUTH = "/auth"
Pair = tuple[str, str]
"""Login and password."""


class ResetStyle(StrEnum):
    """Content of the quota headers."""

    EPOCH = "epoch"  # as published
    RELATIVE = "relative"  # X-RateLimit-Reset is the number of seconds left
    MILLISECONDS = "milliseconds"  # X-RateLimit-Reset is in epoch milliseconds
    NONSENSE = "nonsense"
    ABSENT = "absent"  # none of the three headers


@dataclass(frozen=True, slots=True)
class Account:
    """One customer of the simulated company.

    /auth issues `pairs` before any random ones. With `direct`, login and password are themselves temporary credentials,
    as in an account without a tool, and /auth does not know them.
    """

    name: str = "main"
    login: str = "demo@example.com"
    password: str = field(default="demo", repr=False)
    tool: str = "fuseplus"
    world: World = field(default_factory=World)
    direct: bool = False
    pairs: tuple[Pair, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Options:
    """Behaviour of the server. Durations are in seconds, unless the comment has another unit."""

    seed: int = 0

    limit: int = 150  # data requests per window and account
    auth_limit: int = 15  # authentications per window and login
    window: int = 900
    neighbour: int = 0  # requests per window that another client spends of each account's quota
    reset_style: ResetStyle = ResetStyle.EPOCH
    retry_after: bool = False  # on a 429

    clock_offset: float = 0.0  # the server's time minus the true time
    clock_drift: float = 0.0  # parts per million, from `clock_origin` on
    clock_origin: float = 0.0  # true epoch second
    clock_steps: tuple[tuple[float, float], ...] = ()  # (true epoch second, seconds added from then on)
    date: bool = True  # send Date

    latency: float = 0.0  # of a whole exchange; half of it before the request arrives
    jitter: float = 0.0  # largest addition to the latency, drawn for each exchange
    outages: tuple[tuple[float, float], ...] = ()  # [from, to) on the server's clock: closed at once
    faults: Faults = NO_FAULTS  # of data requests
    auth_faults: Faults = NO_FAULTS

    methods: frozenset[str] = frozenset({"GET"})  # of data requests; GET and POST are possible
    gzip: bool = False  # for clients that accept it
    pair_lifetime: float = 86_400.0  # of a temporary pair after its last use
    single_pair: bool = False  # a new pair ends the old one
    auth_refused: int = 401  # status of refused credentials at /auth; or 400
    foreign_status: int = 401  # status for a number of another account: 401, or 400 with the name of the parameter
    max_days: int | None = None  # a wider range is refused
    wide_status: int = 400  # or 500
    wide_error: str = "Invalid date range."
    wide_fault: Fault | None = None  # of a wider range, instead of a refusal
    served_until: int | None = None  # days before today; a range that ends later is refused
    end_error: str = "Invalid end parameter."
    today_refused: bool = False  # a range that ends today is refused

    journal_size: int | None = None  # latest visits that are stored; None: all

    def __post_init__(self) -> None:
        if self.window < 1 or self.limit < 1 or self.auth_limit < 1:
            raise ValueError("window, limit and auth_limit must be at least 1")
        if min(self.neighbour, self.latency, self.jitter, self.pair_lifetime) < 0:
            raise ValueError("neighbour, latency, jitter and pair_lifetime must not be negative")
        if not self.methods or not self.methods <= {"GET", "POST"}:
            raise ValueError("methods must be GET, POST or both")

    def faults_of(self, path: str) -> Faults:
        """Return the faults of requests for this path."""
        return self.auth_faults if path == AUTH else self.faults
