"""The simulator's settings. Where the real server's behaviour is unknown, the default is the likely one."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from harvester.simulator.faults import CALM, Faults
from harvester.simulator.world import World

AUTH = "/auth"
Pair = tuple[str, str]
"""Login and password."""


class ResetStyle(StrEnum):
    """What the quota headers hold."""

    EPOCH = "epoch"  # as published
    RELATIVE = "relative"  # X-RateLimit-Reset counts the seconds that are left
    MILLISECONDS = "milliseconds"  # X-RateLimit-Reset is in epoch milliseconds
    NONSENSE = "nonsense"
    ABSENT = "absent"  # none of the three headers


@dataclass(frozen=True, slots=True)
class Account:
    """One customer of the simulated company.

    `pairs` are handed out by /auth before any made-up ones. With `direct`, login and password are themselves
    temporary credentials, as an account without a tool has them, and /auth does not know them.
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
    """How the server behaves. Seconds unless said otherwise."""

    seed: int = 0

    limit: int = 150  # data requests per window and account
    auth_limit: int = 15  # authentications per window and login
    window: int = 900
    neighbour: int = 0  # requests per window that somebody else spends of each account's quota
    reset_style: ResetStyle = ResetStyle.EPOCH
    retry_after: bool = False  # on a 429

    clock_offset: float = 0.0  # the server's clock less the true one
    clock_drift: float = 0.0  # parts per million, from `clock_origin` on
    clock_origin: float = 0.0  # true epoch second
    clock_steps: tuple[tuple[float, float], ...] = ()  # (true epoch second, seconds added from then on)
    date: bool = True  # send Date

    latency: float = 0.0  # of a whole exchange; half of it on the way in
    jitter: float = 0.0  # up to so much more, drawn for each exchange
    outages: tuple[tuple[float, float], ...] = ()  # [from, to) on the server's clock: closed at once
    faults: Faults = CALM  # of data requests
    auth_faults: Faults = CALM

    methods: frozenset[str] = frozenset({"GET"})  # of data requests; GET and POST are possible
    gzip: bool = False  # for clients that accept it
    pair_life: float = 86_400.0  # a temporary pair dies so long after its last use
    single_pair: bool = False  # a new pair ends the old one
    auth_refused: int = 401  # or 400
    foreign_status: int = 401  # a number that the account does not own: 401, or a 400 that names the phone
    max_days: int | None = None  # a wider range is refused
    wide_status: int = 400  # or 500
    wide_error: str = "Invalid date range."
    today_refused: bool = False  # a range that ends today is refused

    journal_size: int | None = None  # visits remembered; None: all of them

    def __post_init__(self) -> None:
        if self.window < 1 or self.limit < 1 or self.auth_limit < 1:
            raise ValueError("window, limit and auth_limit must be at least 1")
        if min(self.neighbour, self.latency, self.jitter, self.pair_life) < 0:
            raise ValueError("neighbour, latency, jitter and pair_life must not be negative")
        if not self.methods or not self.methods <= {"GET", "POST"}:
            raise ValueError("methods must be GET, POST or both")

    def faults_of(self, path: str) -> Faults:
        """The faults that requests for this path may meet."""
        return self.auth_faults if path == AUTH else self.faults
