"""Answers as the server sends them: headers, labels, and what a fault does to the whole."""

from __future__ import annotations

import gzip
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from harvester.simulator import wire
from harvester.simulator.faults import Ending, Fault, cut_length, html, junk
from harvester.simulator.options import AUTH, Options, ResetStyle
from harvester.simulator.request import Exchange, Refusal, Reply, Request
from harvester.simulator.servertime import http_date

if TYPE_CHECKING:
    from harvester.simulator.quota import Meter

_PAGES = {Fault.BAD_GATEWAY: (502, "Bad Gateway"), Fault.UNAVAILABLE: (503, "Service Unavailable")}


def wants_xml(request: Request) -> bool:
    """Whether the client asks for XML; anything else gets JSON."""
    return request.headers.get("accept", "").partition(";")[0].strip().lower() == "application/xml"


def page(exchange: Exchange, options: Options, meter: Meter, at: float, body: bytes) -> Reply:
    """A good answer."""
    label = "application/xml" if wants_xml(exchange.request) else "application/json"
    headers = (("Content-Type", label), *_standard_headers(options, meter, at))
    if exchange.fault is Fault.JUNK:
        return Reply(200, headers, junk(options.seed, *exchange.key))
    if options.gzip and "gzip" in exchange.request.headers.get("accept-encoding", ""):
        return Reply(200, (*headers, ("Content-Encoding", "gzip")), gzip.compress(body, 1, mtime=0))
    return Reply(200, headers, body)


def refused(exchange: Exchange, options: Options, meter: Meter, at: float, refusal: Refusal) -> Reply:
    """The API's own error. In XML it is labelled as JSON, as published."""
    fields = {"error": refusal.message}
    body = wire.xml_object(fields) if wants_xml(exchange.request) else wire.json_object(fields)
    headers = [("Content-Type", "application/json"), *_standard_headers(options, meter, at)]
    match refusal.status:
        case 401:
            headers.append(("WWW-Authenticate", 'Basic realm="VoiceTrends"'))
        case 405:
            allowed = {"POST"} if exchange.key[0] == AUTH else options.methods
            headers.append(("Allow", ", ".join(sorted(allowed))))
        case 429 if options.retry_after:
            headers.append(("Retry-After", str(ceil(meter.reset(at) - at))))
    return Reply(refusal.status, tuple(headers), body)


def proxy_page(exchange: Exchange, options: Options, at: float) -> Reply:
    """What somebody in front of the API answers: a page for people, and no word of the quota."""
    status, reason = _PAGES.get(exchange.fault or Fault.HTML, (200, "Please wait"))
    return Reply(status, (("Content-Type", "text/html"), *_date(options, at)), html(reason))


def spoiled(reply: Reply, exchange: Exchange, options: Options) -> Reply:
    """The answer as it travels: later by the way back, and broken where a fault says so."""
    fault, key = exchange.fault, (options.seed, *exchange.key)
    reply = replace(reply, delay=exchange.outbound)
    match fault:
        case Fault.DROP:
            return replace(reply, ending=Ending.CLOSED)
        case Fault.CUT | Fault.DROP_BODY:
            return replace(reply, ending=Ending.CUT, sent=cut_length(fault, len(reply.body), *key))
        case Fault.CUT_CHUNKED:
            return replace(reply, ending=Ending.CUT_CHUNKED, sent=cut_length(fault, len(reply.body), *key))
        case Fault.SLOW:
            return replace(reply, delay=reply.delay + options.faults_of(exchange.key[0]).slow_seconds)
        case Fault.SLOW_BODY:
            return replace(reply, pace=options.faults_of(exchange.key[0]).slow_seconds)
    return reply


def _standard_headers(options: Options, meter: Meter, at: float) -> tuple[tuple[str, str], ...]:
    if options.reset_style is ResetStyle.ABSENT:
        return _date(options, at)
    return (
        *_date(options, at),
        ("X-RateLimit-Limit", str(meter.limit)),
        ("X-RateLimit-Remaining", str(meter.remaining(at))),
        ("X-RateLimit-Reset", _reset(options.reset_style, meter.reset(at), int(at))),
    )


def _reset(style: ResetStyle, reset: int, second: int) -> str:
    match style:
        case ResetStyle.RELATIVE:
            return str(reset - second)
        case ResetStyle.MILLISECONDS:
            return str(reset * 1000)
        case ResetStyle.NONSENSE:
            return "soon"
    return str(reset)


def _date(options: Options, at: float) -> tuple[tuple[str, str], ...]:
    return (("Date", http_date(int(at))),) if options.date else ()
