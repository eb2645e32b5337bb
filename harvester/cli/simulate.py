"""`harvester simulate`: run the VoiceTrends simulator in the foreground."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from harvester.simulator.api import SimulatedApi
    from harvester.simulator.faults import Faults
    from harvester.simulator.request import Exchange, Reply

    Observer = Callable[[Exchange, Reply], None]

_DEFAULT_PASSWORD = "demo"  # noqa: S105 - only for the simulator
_JOURNAL_SIZE = 10_000  # latest visits; limited because the command may run for weeks

_SNIPPET = """\
# A configuration that uses it:
[api]
base_url = "{url}"

[quota]
limit = {limit}
window = {window}

[defaults]
timezone = "{timezone}"
week_start = "{week_start}"

[accounts.main]
tool = "{tool}"
login = {login}
password = "{password}"
phones = [{phones}]
start = 2024-01-01
"""


@click.command(short_help="Run the VoiceTrends simulator on a loopback port.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8151,
    show_default=True,
    metavar="N",
    help="Port; 0 picks a free one.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=150, show_default=True, metavar="N", help="Requests per window."
)
@click.option(
    "--window", type=click.IntRange(1), default=900, show_default=True, metavar="SECONDS", help="Length of a window."
)
@click.option(
    "--neighbour",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Requests per window that another client spends.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="N", help="Seed of the simulated figures.")
@click.option(
    "--phones", multiple=True, metavar="NUMBER[,NUMBER...]", help="Serve only these numbers and ALL; repeatable."
)
@click.option(
    "--timezone", default="America/New_York", show_default=True, metavar="ZONE", help="Zone in which days begin."
)
@click.option(
    "--week-start", type=click.Choice(["sunday", "monday"]), default="sunday", show_default=True, help="First weekday."
)
@click.option(
    "--late-days",
    type=click.IntRange(0),
    default=0,
    metavar="DAYS",
    help="Time after its end in which a day still changes.",
)
@click.option("--max-days", type=click.IntRange(1), metavar="DAYS", help="Refuse wider ranges.")
@click.option(
    "--clock-offset", type=float, default=0.0, metavar="SECONDS", help="Time by which the server's clock is ahead."
)
@click.option("--latency", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="Duration of a request.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="KIND=PROBABILITY",
    help="Fault to inject, such as cut=0.05; repeatable.",
)
@click.option(
    "--tool",
    type=click.Choice(["dev", "insight", "fuseplus"]),
    default="fuseplus",
    show_default=True,
    help="Tool of the account.",
)
@click.option("--login", default="demo@example.com", show_default=True, help="Login of the account.")
@click.option(
    "--password",
    default=_DEFAULT_PASSWORD,
    show_default=True,
    envvar="HARVESTER_SIMULATE_PASSWORD",
    show_envvar=True,
    help="Password of the account.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line per request.")
def simulate(
    *,
    port: int,
    limit: int,
    window: int,
    neighbour: int,
    seed: int,
    phones: tuple[str, ...],
    timezone: str,
    week_start: str,
    late_days: int,
    max_days: int | None,
    clock_offset: float,
    latency: float,
    faults: tuple[str, ...],
    tool: str,
    login: str,
    password: str,
    verbose: bool,
) -> None:
    """Run the VoiceTrends simulator on a loopback port, until Ctrl-C or SIGTERM.

    Prints its base URL on stdout and a matching configuration on stderr. Each run with the same seed has the same data.
    """
    import asyncio

    from harvester.core.period import Calendar, WeekStart
    from harvester.simulator.api import SimulatedApi
    from harvester.simulator.options import Account, Options
    from harvester.simulator.world import World

    calendar = Calendar(_zone(timezone), WeekStart(week_start))
    world = World(seed=seed, calendar=calendar, phones=_parse_phones(phones), late_days=late_days)
    options = Options(
        seed=seed,
        limit=limit,
        window=window,
        neighbour=neighbour,
        clock_offset=clock_offset,
        latency=latency,
        max_days=max_days,
        faults=_parse_faults(faults),
        methods=frozenset({"GET", "POST"}),
        journal_size=_JOURNAL_SIZE,
    )
    api = SimulatedApi([Account(tool=tool, login=login, password=password, world=world)], options)
    try:
        asyncio.run(_serve(api, port, _print if verbose else None))
    except OSError as error:
        raise click.UsageError(f"Cannot listen on port {port}: {error.strerror or error}") from error


async def _serve(api: SimulatedApi, port: int, observer: Observer | None) -> None:
    import asyncio
    import signal

    from harvester.simulator.server import SimulatorServer

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with SimulatorServer(api, port=port, observer=observer) as server:
        click.echo(_snippet(api, server.url), err=True)
        click.echo(server.url)  # last, for a script may send a signal as soon as it has read this line
        await stop.wait()
    click.echo(f"{api.total} requests answered.", err=True)


def _snippet(api: SimulatedApi, url: str) -> str:
    import json

    account = next(iter(api.accounts.values()))
    calendar = account.world.calendar
    return _SNIPPET.format(
        url=url,
        limit=api.options.limit,
        window=api.options.window,
        timezone=calendar.zone.key,
        week_start=calendar.week_start.value,
        tool=account.tool,
        login=json.dumps(account.login),  # a TOML string is quoted alike
        # Any other password may be in use elsewhere: do not print it.
        password=_DEFAULT_PASSWORD if account.password == _DEFAULT_PASSWORD else "...",
        phones=", ".join(f'"{phone}"' for phone in ("ALL", *(account.world.phones or ("8005551234",)))),
    )


def _print(exchange: Exchange, reply: Reply) -> None:
    fault = f" ({exchange.fault.value})" if exchange.fault else ""
    click.echo(f"{exchange.request.method} {exchange.request.path} {reply.status or 'closed'}{fault}", err=True)


def _zone(name: str) -> ZoneInfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(f"{name!r} is not a time zone", param_hint="--timezone") from error


def _parse_phones(texts: tuple[str, ...]) -> tuple[str, ...] | None:
    phones = tuple(dict.fromkeys(phone.strip() for text in texts for phone in text.split(",")))
    for phone in phones:
        if not (phone.isascii() and phone.isdigit()):
            raise click.BadParameter(f"{phone!r} is not a number: write digits only", param_hint="--phones")
    return phones or None


def _parse_faults(texts: tuple[str, ...]) -> Faults:
    from harvester.simulator.faults import FAULT_NAMES, Faults

    odds: dict[str, float] = {}
    for text in texts:
        name, _, share = text.partition("=")
        kind = name.replace("-", "_")
        if kind not in FAULT_NAMES:
            raise click.BadParameter(f"unknown kind {name!r}; known: {', '.join(FAULT_NAMES)}", param_hint="--fault")
        try:
            odds[kind] = float(share)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} is not KIND=PROBABILITY", param_hint="--fault") from error
    try:
        return Faults(**odds)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fault") from error
