"""The API's behaviour as a function of (request, now): routing, credentials, quota, errors, faults. No sockets.

`now` is the true time, in epoch seconds; the server's own clock follows from it (`servertime`), and everything the
server does or says goes by that clock. State is what a server has: the books of the quota windows, the temporary
pairs it gave, and how often each path was asked for. Whoever drives it with the same requests at the same moments
gets the same answers, so it runs under a virtual clock as well as behind a socket:

    exchange = api.accept(request)              # all luck is drawn here
    ... exchange.inbound seconds pass ...
    reply = api.answer(exchange, now)           # it arrives, counts, and is answered
    ... reply.delay seconds pass ...

Order of judgement: outage, proxy, quota, credentials, method, parameters. So everything that reaches the API counts,
a 400 and a 401 too, but for a 429. Requests without credentials that were ever good share a quota of nobody's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs

from harvester.simulator import wire
from harvester.simulator.answers import page, proxy_page, refused, spoiled, wants_xml
from harvester.simulator.chance import numbers
from harvester.simulator.credentials import Registry
from harvester.simulator.faults import DISTORTING, PROXY, Ending, Fault, distorted
from harvester.simulator.options import AUTH, Account, Options, Pair
from harvester.simulator.quota import Meter
from harvester.simulator.request import Exchange, Refusal, Reply, Request, judge, parse_basic, parse_query
from harvester.simulator.servertime import server_time
from harvester.simulator.world import FORMULAS

PREFIX = "/api"
NOBODY = ""  # the account of requests whose credentials were never good

_PARAMETERS = 4
_OVER = (429, "Rate limit exceeded.")
_METHOD = (405, "Method not allowed.")
_BROKEN = (500, "Unknown error.")


class Visit(NamedTuple):
    """One request in the journal. Status 0: the connection was closed at once."""

    at: float  # the server's clock
    account: str  # NOBODY where the credentials were never good
    method: str
    path: str  # without the prefix
    status: int
    fault: Fault | None


@dataclass(slots=True)
class OrderedFault:
    """A fault that the next `times` requests meet, if `where` is a part of their path."""

    fault: Fault
    times: int
    where: str  # empty: every data request

    def concerns(self, path: str) -> bool:
        """Return True if a request for this path is one of them."""
        return self.where in path if self.where else path != AUTH


class SimulatedApi:
    """The simulated company's server.

    `accounts` and `options` may be replaced while it serves (another world, other faults); limits, windows and
    credentials stay as they were at the start.
    """

    def __init__(self, accounts: Iterable[Account] = (Account(),), options: Options | None = None) -> None:
        self.options = options or Options()
        customers = list(accounts)
        self.accounts = {account.name: account for account in customers}
        if len(self.accounts) < len(customers) or len({account.login for account in customers}) < len(customers):
            raise ValueError("Each account needs a name and a login of its own")
        self.journal: deque[Visit] = deque(maxlen=self.options.journal_size)
        self.visits: Counter[str] = Counter()  # path -> how often it was asked for
        self.total = 0  # requests of every kind, those met by an outage included
        self.ordered: list[OrderedFault] = []  # those that have not struck yet
        self._meters: dict[str, Meter] = {}
        self._auth_meters: dict[str, Meter] = {}
        self.registry = Registry(
            self.accounts.values(),
            seed=self.options.seed,
            life=self.options.pair_life,
            single=self.options.single_pair,
        )

    # What a driver calls.

    def accept(self, request: Request) -> Exchange:
        """Take a request that was sent just now; whether and when it arrives is drawn here."""
        path = request.path.removeprefix(PREFIX)
        key = (path, self.visits[path])
        self.visits[path] += 1
        options = self.options
        inbound, outbound = ((options.latency + options.jitter * x) / 2 for x in numbers(2, options.seed, "way", *key))
        fault = self._next_ordered(path) or options.faults_of(path).strike(options.seed, *key)
        return Exchange(request, key, inbound, outbound, fault)

    def answer(self, exchange: Exchange, now: float) -> Reply:
        """Answer a request that arrives now (true epoch seconds)."""
        self.total += 1
        at = server_time(self.options, now)
        if any(first <= at < last for first, last in self.options.outages):
            owner, reply = NOBODY, Reply(0, ending=Ending.CLOSED)
        elif exchange.key[0] == AUTH:
            owner, reply = self._authenticate(exchange, at)
        else:
            owner, reply = self._data(exchange, at)
        self.journal.append(Visit(at, owner, exchange.request.method, exchange.key[0], reply.status, exchange.fault))
        return spoiled(reply, exchange, self.options)

    # What a test or a benchmark asks or does.

    def server_time(self, now: float) -> float:
        """What the server's clock shows at a true moment."""
        return server_time(self.options, now)

    def books(self, account: str = "main") -> Meter:
        """The books of one account's quota."""
        if account not in self._meters:
            options = self.options
            key = (options.seed, account)
            neighbour = options.neighbour if account != NOBODY else 0
            self._meters[account] = Meter(options.limit, options.window, neighbour=neighbour, key=key)
        return self._meters[account]

    def auth_books(self, login: str) -> Meter:
        """The books of one login's authentications."""
        if login not in self._auth_meters:
            self._auth_meters[login] = Meter(self.options.auth_limit, self.options.window)
        return self._auth_meters[login]

    def requests_per_window(self, account: str = "main") -> dict[int, int]:
        """Window's first second -> data requests that the client sent and that were not refused with 429."""
        return {start: window.sent for start, window in self.books(account).windows.items() if window.sent}

    def spend_elsewhere(self, count: int, now: float, account: str = "main") -> int:
        """Let somebody else spend so many requests of this account now; returns how many were left for them."""
        return self.books(account).spend_elsewhere(count, self.server_time(now))

    def order(self, fault: Fault, times: int = 1, where: str = "") -> None:
        """Let the next so many data requests meet this fault, or those whose path contains `where` ("/auth")."""
        if times < 1:
            raise ValueError("times must be at least 1")
        self.ordered.append(OrderedFault(fault, times, where))

    def suspend(self, account: str) -> None:
        """Refuse everything of an account, /auth included, until `resume`."""
        self.registry.suspend(account)

    def resume(self, account: str) -> None:
        """Serve the account again."""
        self.registry.resume(account)

    # The server's inside: each returns the account that the request is counted for, and the answer.

    def _authenticate(self, exchange: Exchange, at: float) -> tuple[str, Reply]:
        form = {name: values[0] for name, values in parse_qs(exchange.request.body.decode(errors="replace")).items()}
        login = form.get("login", "")
        owner = next((account.name for account in self.accounts.values() if account.login == login), NOBODY)
        if exchange.fault in PROXY:
            return owner, proxy_page(exchange, self.options, at)
        meter = self.auth_books(login)
        try:
            pair = self._exchanged(exchange, form, meter, at)
        except Refusal as refusal:
            return owner, refused(exchange, self.options, meter, at, refusal)
        fields = dict(zip(("login", "password"), pair, strict=True))
        body = wire.xml_object(fields) if wants_xml(exchange.request) else wire.json_object(fields)
        return owner, page(exchange, self.options, meter, at, body)

    def _exchanged(self, exchange: Exchange, form: dict[str, str], meter: Meter, at: float) -> Pair:
        if exchange.fault is Fault.THROTTLE or not meter.charge(at):
            raise Refusal(*_OVER)
        if exchange.request.method != "POST":
            raise Refusal(*_METHOD)
        if exchange.fault is Fault.SERVER_ERROR:
            raise Refusal(*_BROKEN)
        for name in ("tool", "login", "password"):
            if name not in form:
                raise Refusal(400, f"Invalid {name} parameter.")
        pair = self.registry.exchange(form["tool"], form["login"], form["password"], at)
        if pair is None or exchange.fault is Fault.DEAD:
            raise Refusal(self.options.auth_refused, "Invalid login or password.")
        return pair

    def _data(self, exchange: Exchange, at: float) -> tuple[str, Reply]:
        pair = parse_basic(exchange.request.headers.get("authorization"))
        account, alive = self.registry.holder(*pair, at) if pair else (None, False)
        owner = account.name if account else NOBODY
        meter = self.books(owner)
        if exchange.fault in PROXY:
            meter.window(at).sent += 1
            return owner, proxy_page(exchange, self.options, at)
        try:
            self._admit(exchange, meter, at)
            if exchange.fault is Fault.DEAD:
                self.registry.expire(owner)
                alive = False
            body = self._figures(exchange, self.accounts[owner] if alive else None, at)
        except Refusal as refusal:
            return owner, refused(exchange, self.options, meter, at, refusal)
        return owner, page(exchange, self.options, meter, at, body)

    def _admit(self, exchange: Exchange, meter: Meter, at: float) -> None:
        if exchange.fault is Fault.THROTTLE:
            meter.window(at).refused += 1
            raise Refusal(*_OVER)
        if not meter.charge(at):
            raise Refusal(*_OVER)

    def _figures(self, exchange: Exchange, account: Account | None, at: float) -> bytes:
        if account is None:
            raise Refusal(401, "Unauthorized.")
        resource, *parameters = exchange.key[0].lstrip("/").split("/")
        if resource not in FORMULAS or len(parameters) != _PARAMETERS:
            raise Refusal(404, "Unknown resource.")
        if exchange.request.method not in self.options.methods:
            raise Refusal(*_METHOD)
        world, fault = account.world, exchange.fault
        query = parse_query(resource, parameters)
        judge(query, world, self.options, world.calendar.local_date(at))
        if fault is Fault.SERVER_ERROR:
            raise Refusal(*_BROKEN)
        figures = world.truth(resource, query.phone, query.period, query.first, query.last, at)
        shown = distorted(fault, figures, self.options.seed, *exchange.key) if fault in DISTORTING else figures
        return wire.xml_figures(shown) if wants_xml(exchange.request) else wire.json_figures(shown)

    def _next_ordered(self, path: str) -> Fault | None:
        ordered = next((order for order in self.ordered if order.concerns(path)), None)
        if ordered is None:
            return None
        ordered.times -= 1
        if not ordered.times:
            self.ordered.remove(ordered)
        return ordered.fault
