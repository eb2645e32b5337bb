"""Catalogue of the metrics that VoiceTrends is known to give, with their units and additivity.

A key of this catalogue identifies an answer as one of its resource (`normalize` fails an answer that has none), and the
table `metrics` shows the catalogue to users. It is no filter: a new metric may appear at any time and is stored, too.

A metric is additive if its sum over periods and over phones is the value of the whole. Rates and averages are not, and
neither are unique callers: a person who calls on two days is counted on both.
"""

from functools import cache
from typing import NamedTuple


class Metric(NamedTuple):
    """A metric of a resource."""

    resource: str
    name: str
    unit: str
    additive: bool
    meaning: str


METRICS: tuple[Metric, ...] = (
    Metric("performance", "calls", "calls", True, "Calls handled"),
    Metric("performance", "js_errors", "errors", True, "JavaScript errors in the voice application"),
    Metric("performance", "js_errors_per_call", "errors/call", False, "JavaScript errors for each call"),
    Metric("performance", "fetch_errors", "errors", True, "Pages or files that the platform could not fetch"),
    Metric("performance", "fetch_errors_per_call", "errors/call", False, "Failed fetches for each call"),
    Metric("performance", "average_page_load", "s", False, "Mean time to load a page"),
    Metric("volume", "calls", "calls", True, "Calls handled"),
    Metric("volume", "call_minutes", "min", True, "Time spent in calls"),
    Metric("volume", "transfers", "transfers", True, "Calls passed on to another number"),
    Metric("volume", "transfer_minutes", "min", True, "Time spent in transferred calls"),
    Metric("events", "calls", "calls", True, "Calls handled"),
    Metric("events", "log_events", "events", True, "Entries written to the application's log"),
    Metric("events", "loops_per_call", "loops/call", False, "Loops for each call"),
    Metric("events", "form_items", "items", True, "Form items visited"),
    Metric("events", "loops", "loops", True, "Form items visited again in the same call"),
    Metric("events", "average_form_items", "items/call", False, "Mean number of form items in a call"),
    Metric("profile", "calls", "calls", True, "Calls handled"),
    Metric("profile", "callers", "callers", False, "Unique callers"),
)


@cache
def known_metrics(resource: str) -> frozenset[str]:
    """Return the names of the metrics that the resource is known to give."""
    return frozenset(metric.name for metric in METRICS if metric.resource == resource)
