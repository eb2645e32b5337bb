"""Behaviour of the API as a function of (request, now): routing, credentials, quota, errors, faults. No sockets.

`now` is the true time in epoch seconds. The server's own clock is computed from it (`servertime`), and the server acts
by its own clock only. Its state: the counts of the quota windows, the temporary pairs that it issued, and how often
each path was requested. The same requests at the same moments get the same answers, so it works under a virtual clock
as well as behind a socket:

    exchange = api.accept(request)              # everything random is drawn here
    ... exchange.inbound seconds pass ...
    reply = api.answer(exchange, now)           # the request arrives, counts, and is answered
    ... reply.delay seconds pass ...

Order of the checks: outage, proxy, quota, credentials, method, parameters. So everything that reaches the API counts,
also a 400 or a 401, except a 429. Requests whose credentials never existed share the quota of UNKNOWN_ACCOUNT.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs

from harvester.simulator import wire
from harvester.simulator.chance import numbers
from harvester.simulator.credentials import Registry
from harvester.simulator.faults import CONTENT_FAULTS, PROXY_FAULTS, Ending, Fault, distort
from harvester.simulator.options import AUTH, Account, Options, Pair
from harvester.simulator.quota import Meter
from harvester.simulator.replies import apply_transport_fault, error_reply, proxy_reply, success_reply, wants_xml
from harvester.simulator.request import (
    ApiError,
    Exchange,
    Reply,
    Request,
    check_query,
    is_too_wide,
    parse_basic,
    parse_query,
)
from harvester.simulator.servertime import server_time
from harvester.simulator.world import FORMULAS

PREFIX = "/api"
UNKNOWN_ACCOUNT = ""  # the account of requests whose credentials never existed

_PARAMETER_COUNT = 4
_RATE_LIMIT_EXCEEDED = (429, "Rate limit exceeded.")
_METHOD_NOT_ALLOWED = (405, "Method not allowed.")
_UNKNOWN_ERROR = (500, "Unknown error.")


class Visit(NamedTuple):
    """One request in the journal. Status 0: the connection was closed without an answer."""

    at: float  # the server's clock
    account: str
    method: str
    path: str  # without the prefix
    status: int
    fault: Fault | None


@dataclass(slots=True)
class InjectedFault:
    """Fault of the next `times` requests whose path contains `where`."""

    fault: Fault
    times: int
    where: str  # empty: all data requests

    def matches(self, path: str) -> bool:
        """Return True if a request for this path gets the fault."""
        return self.where in path if self.where else path != AUTH


class SimulatedApi:
    """Server of the simulated company.

    `accounts` and `options` may be replaced while it serves (another world, other faults); limits, windows and
    credentials stay as they were at the start.
    """

    def __init__(self, accounts: Iterable[Account] = (Account(),), options: Options | None = None) -> None:
        self.options = options or Options()
        customers = list(accounts)
        self.accounts = {account.name: account for account in customers}
        if len(self.accounts) < len(customers) or len({account.login for account in customers}) < len(customers):
            raise ValueError("each account needs a name and a login of its own")
        self.journal: deque[Visit] = deque(maxlen=self.options.journal_size)
        self.visits: Counter[str] = Counter()  # path -> number of requests
        self.total = 0  # requests of every kind, those in an outage included
        self.injected: list[InjectedFault] = []  # that have requests left
        self._meters: dict[str, Meter] = {}
        self._auth_meters: dict[str, Meter] = {}
        self.registry = Registry(
            self.accounts.values(),
            seed=self.options.seed,
            lifetime=self.options.pair_lifetime,
            single=self.options.single_pair,
        )

    # For the server

    def accept(self, request: Request) -> Exchange:
        """Accept a request that was sent just now, and draw its delays and its fault."""
        path = request.path.removeprefix(PREFIX)
        key = (path, self.visits[path])
        self.visits[path] += 1
        options = self.options
        inbound, outbound = ((options.latency + options.jitter * x) / 2 for x in numbers(2, options.seed, "way", *key))
        fault = (
            self._next_injected(path) or self._fault_of_width(path) or options.faults_of(path).draw(options.seed, *key)
        )
        return Exchange(request, key, inbound, outbound, fault)

    def answer(self, exchange: Exchange, now: float) -> Reply:
        """Answer a request that arrives now (true epoch seconds)."""
        self.total += 1
        at = server_time(self.options, now)
        if any(first <= at < last for first, last in self.options.outages):
            account, reply = UNKNOWN_ACCOUNT, Reply(0, ending=Ending.CLOSED)
        elif exchange.key[0] == AUTH:
            account, reply = self._authenticate(exchange, at)
        else:
            account, reply = self._data(exchange, at)
        self.journal.append(Visit(at, account, exchange.request.method, exchange.key[0], reply.status, exchange.fault))
        return apply_transport_fault(reply, exchange, self.options)

    # For tests, benchmarks and the demonstration

    def server_time(self, now: float) -> float:
        """Return the server's time at the true time `now`."""
        return server_time(self.options, now)

    def quota(self, account: str = "main") -> Meter:
        """Return the quota of one account."""
        if account not in self._meters:
            options = self.options
            key = (options.seed, account)
            neighbour = options.neighbour if account != UNKNOWN_ACCOUNT else 0
            self._meters[account] = Meter(options.limit, options.window, neighbour=neighbour, key=key)
        return self._meters[account]

    def auth_quota(self, login: str) -> Meter:
        """Return the quota of one login at /auth."""
        if login not in self._auth_meters:
            self._auth_meters[login] = Meter(self.options.auth_limit, self.options.window)
        return self._auth_meters[login]

    def requests_per_window(self, account: str = "main") -> dict[int, int]:
        """Return the data requests of the client that got no 429, by the epoch second at which the window begins."""
        return {start: window.sent for start, window in self.quota(account).windows.items() if window.sent}

    def spend_as_neighbour(self, count: int, now: float, account: str = "main") -> int:
        """Spend up to `count` requests as another client, and return how many were available."""
        return self.quota(account).spend(count, self.server_time(now))

    def inject(self, fault: Fault, times: int = 1, where: str = "") -> None:
        """Give this fault to the next `times` data requests, or to requests whose path contains `where` ("/auth")."""
        if times < 1:
            raise ValueError("times must be at least 1")
        self.injected.append(InjectedFault(fault, times, where))

    def suspend(self, account: str) -> None:
        """Refuse all requests of an account, also at /auth, until `resume`."""
        self.registry.suspend(account)

    def resume(self, account: str) -> None:
        """Serve an account again."""
        self.registry.resume(account)

    # Each of these two returns the account whose quota the request counts for, and the reply.

    def _authenticate(self, exchange: Exchange, at: float) -> tuple[str, Reply]:
        form = {name: values[0] for name, values in parse_qs(exchange.request.body.decode(errors="replace")).items()}
        login = form.get("login", "")
        name = next((account.name for account in self.accounts.values() if account.login == login), UNKNOWN_ACCOUNT)
        if exchange.fault in PROXY_FAULTS:
            return name, proxy_reply(exchange, self.options, at)
        meter = self.auth_quota(login)
        try:
            pair = self._exchange(exchange, form, meter, at)
        except ApiError as error:
            return name, error_reply(exchange, self.options, meter, at, error)
        fields = dict(zip(("login", "password"), pair, strict=True))
        body = wire.xml_object(fields) if wants_xml(exchange.request) else wire.json_object(fields)
        return name, success_reply(exchange, self.options, meter, at, body)

    def _exchange(self, exchange: Exchange, form: dict[str, str], meter: Meter, at: float) -> Pair:
        if exchange.fault is Fault.THROTTLE or not meter.charge(at):
            raise ApiError(*_RATE_LIMIT_EXCEEDED)
        if exchange.request.method != "POST":
            raise ApiError(*_METHOD_NOT_ALLOWED)
        if exchange.fault is Fault.SERVER_ERROR:
            raise ApiError(*_UNKNOWN_ERROR)
        for parameter in ("tool", "login", "password"):
            if parameter not in form:
                raise ApiError(400, f"Invalid {parameter} parameter.")
        pair = self.registry.exchange(form["tool"], form["login"], form["password"], at)
        if pair is None or exchange.fault is Fault.DEAD:
            raise ApiError(self.options.auth_refused, "Invalid login or password.")
        return pair

    def _data(self, exchange: Exchange, at: float) -> tuple[str, Reply]:
        pair = parse_basic(exchange.request.headers.get("authorization"))
        account, valid = self.registry.authorize(*pair, at) if pair else (None, False)
        name = account.name if account else UNKNOWN_ACCOUNT
        meter = self.quota(name)
        if exchange.fault in PROXY_FAULTS:
            meter.window(at).sent += 1
            return name, proxy_reply(exchange, self.options, at)
        try:
            self._charge(exchange, meter, at)
            if exchange.fault is Fault.DEAD:
                self.registry.expire(name)
                valid = False
            body = self._figures(exchange, self.accounts[name] if valid else None, at)
        except ApiError as error:
            return name, error_reply(exchange, self.options, meter, at, error)
        return name, success_reply(exchange, self.options, meter, at, body)

    def _charge(self, exchange: Exchange, meter: Meter, at: float) -> None:
        if exchange.fault is Fault.THROTTLE:
            meter.window(at).refused += 1
            raise ApiError(*_RATE_LIMIT_EXCEEDED)
        if not meter.charge(at):
            raise ApiError(*_RATE_LIMIT_EXCEEDED)

    def _figures(self, exchange: Exchange, account: Account | None, at: float) -> bytes:
        if account is None:
            raise ApiError(401, "Unauthorized.")
        resource, *parameters = exchange.key[0].lstrip("/").split("/")
        if resource not in FORMULAS or len(parameters) != _PARAMETER_COUNT:
            raise ApiError(404, "Unknown resource.")
        if exchange.request.method not in self.options.methods:
            raise ApiError(*_METHOD_NOT_ALLOWED)
        world, fault = account.world, exchange.fault
        query = parse_query(resource, parameters)
        check_query(query, world, self.options, world.calendar.local_date(at))
        if fault is Fault.SERVER_ERROR:
            raise ApiError(*_UNKNOWN_ERROR)
        truth = world.truth(resource, query.phone, query.period, query.first, query.last, at)
        figures = distort(fault, truth, self.options.seed, *exchange.key) if fault in CONTENT_FAULTS else truth
        return wire.xml_figures(figures) if wants_xml(exchange.request) else wire.json_figures(figures)

    def _fault_of_width(self, path: str) -> Fault | None:
        resource, *parameters = path.lstrip("/").split("/")
        if self.options.wide_fault is None or resource not in FORMULAS or len(parameters) != _PARAMETER_COUNT:
            return None
        try:
            query = parse_query(resource, parameters)
        except ApiError:
            return None
        return self.options.wide_fault if is_too_wide(query, self.options) else None

    def _next_injected(self, path: str) -> Fault | None:
        found = next((one for one in self.injected if one.matches(path)), None)
        if found is None:
            return None
        found.times -= 1
        if not found.times:
            self.injected.remove(found)
        return found.fault
