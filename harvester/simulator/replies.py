"""Replies as the server sends them: headers, content types, and the effect of a fault."""

from __future__ import annotations

import gzip
from dataclasses import replace
from math import ceil

from harvester.simulator import wire
from harvester.simulator.faults import Ending, Fault, cut_length, html_page, random_body
from harvester.simulator.options import AUTH, Options, ResetStyle
from harvester.simulator.quota import Meter
from harvester.simulator.request import ApiError, Exchange, Reply, Request
from harvester.simulator.servertime import http_date

_PROXY_ERRORS = {Fault.BAD_GATEWAY: (502, "Bad Gateway"), Fault.UNAVAILABLE: (503, "Service Unavailable")}


def wants_xml(request: Request) -> bool:
    """Return True if the client accepts XML; any other client gets JSON."""
    return request.headers.get("accept", "").partition(";")[0].strip().lower() == "application/xml"


def success_reply(exchange: Exchange, options: Options, meter: Meter, at: float, body: bytes) -> Reply:
    """Return the reply with status 200."""
    content_type = "application/xml" if wants_xml(exchange.request) else "application/json"
    headers = (("Content-Type", content_type), *_standard_headers(options, meter, at))
    if exchange.fault is Fault.JUNK:
        return Reply(200, headers, random_body(options.seed, *exchange.key))
    if options.gzip and "gzip" in exchange.request.headers.get("accept-encoding", ""):
        return Reply(200, (*headers, ("Content-Encoding", "gzip")), gzip.compress(body, 1, mtime=0))
    return Reply(200, headers, body)


def error_reply(exchange: Exchange, options: Options, meter: Meter, at: float, error: ApiError) -> Reply:
    """Return the reply with an error of the API. XML has the content type of JSON here, as in the published sample."""
    fields = {"error": error.message}
    body = wire.xml_object(fields) if wants_xml(exchange.request) else wire.json_object(fields)
    headers = [("Content-Type", "application/json"), *_standard_headers(options, meter, at)]
    match error.status:
        case 401:
            headers.append(("WWW-Authenticate", 'Basic realm="VoiceTrends"'))
        case 405:
            allowed = {"POST"} if exchange.key[0] == AUTH else options.methods
            headers.append(("Allow", ", ".join(sorted(allowed))))
        case 429 if options.retry_after:
            headers.append(("Retry-After", str(ceil(meter.reset(at) - at))))
    return Reply(error.status, tuple(headers), body)


def proxy_reply(exchange: Exchange, options: Options, at: float) -> Reply:
    """Return the reply of a proxy in front of the API: a web page without quota headers."""
    status, reason = _PROXY_ERRORS.get(exchange.fault or Fault.HTML, (200, "Please wait"))
    return Reply(status, (("Content-Type", "text/html"), *_date(options, at)), html_page(reason))


def apply_transport_fault(reply: Reply, exchange: Exchange, options: Options) -> Reply:
    """Return the reply with its delay, and with the fault of the exchange if it is one of the transport."""
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
