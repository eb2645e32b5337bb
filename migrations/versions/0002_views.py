# ruff: noqa: S608 - views are SQL made of the constants below
"""The views that users query.

A condition on account, phone, period or local_date reaches the key of `value` in both databases. The wide views are
written twice: measured on two million values, a GROUP BY took SQLite 1.7 to 3.5 times as long as look-ups of the
selected columns, and the look-ups took PostgreSQL 2 to 4 times as long.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WIDE = {
    "performance": {
        "calls": 1,
        "js_errors": 2,
        "js_errors_per_call": 3,
        "fetch_errors": 4,
        "fetch_errors_per_call": 5,
        "average_page_load": 6,
    },
    "volume": {"calls": 7, "call_minutes": 8, "transfers": 9, "transfer_minutes": 10},
    "events": {
        "calls": 11,
        "log_events": 12,
        "loops_per_call": 13,
        "form_items": 14,
        "loops": 15,
        "average_form_items": 16,
    },
    "profile": {"calls": 17, "callers": 18},
}
PARTS = {
    "day": "period = 'day' AND phone <> 'ALL'",
    "week": "period = 'week' AND phone <> 'ALL'",
    "month": "period = 'month' AND phone <> 'ALL'",
    "all": "phone = 'ALL'",
}
COMMENTS = {
    "account": "Name of the account in the configuration",
    "resource": "performance, volume, events or profile",
    "phone": "Digits of the number; ALL is the series that merges all numbers",
    "phone_name": "Name given to the number in the configuration",
    "period": "day, week or month",
    "epoch": "The timestamp of the API, in seconds since 1970",
    "period_start": "The first instant of the period",
    "local_date": "First day of the period, in the zone of the account",
    "metric": "Name of the figure, as the API gives it",
    "value": "The figure; NULL where the API said null",
    "complete": "An answer sent after the end of the period holds it",
    "final": "An answer sent settle_days after the end of the period holds it",
    "fetched_at": "When the present value first came",
    "unit": "Unit of the figure; NULL where it is not known",
    "additive": "Whether its sum over periods and phones is the figure of the whole; NULL where that is not known",
    "meaning": "What the figure counts; NULL where it is not known",
    "old_value": "What the last answer sent after the end of the period had held",
    "new_value": "What came instead",
    "changed_at": "When the other value came",
}
MEANINGS = {
    "calls": "Calls handled",
    "js_errors": "JavaScript errors in the voice application",
    "js_errors_per_call": "JavaScript errors for each call",
    "fetch_errors": "Pages or files that the platform could not fetch",
    "fetch_errors_per_call": "Failed fetches for each call",
    "average_page_load": "Mean time to load a page",
    "call_minutes": "Time spent in calls",
    "transfers": "Calls passed on to another number",
    "transfer_minutes": "Time spent in transferred calls",
    "log_events": "Entries written to the log of the application",
    "loops_per_call": "Loops for each call",
    "form_items": "Form items visited",
    "loops": "Form items visited again in the same call",
    "average_form_items": "Mean number of form items in a call",
    "callers": "Unique callers",
}
VIEW_COMMENTS = {
    "metric_values": "One row per account, resource, phone, period, start of period and metric",
    "metrics": "What each metric means, and whether it may be summed up",
    "revisions": "Values that changed after their period had ended",
}


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _instant(epoch: str) -> str:
    return f"datetime({epoch}, 'unixepoch')" if _is_sqlite() else f"to_timestamp({epoch})"


def _end(settle: str | None = None) -> str:
    """Return the first day after the period of the row `v`, or the day `settle` days later."""
    if _is_sqlite():
        later = f", {settle} || ' days'" if settle else ""
        return (
            f"CASE s.period WHEN 'day' THEN date(v.day, '+1 day'{later})"
            f" WHEN 'week' THEN date(v.day, '+7 days'{later}) ELSE date(v.day, '+1 month'{later}) END"
        )
    end = (
        "CASE s.period WHEN 'day' THEN v.day + 1 WHEN 'week' THEN v.day + 7"
        " ELSE CAST(v.day + INTERVAL '1 month' AS date) END"
    )
    return f"({end}) + {settle}" if settle else end


def _requested_after(settle: str | None) -> str:
    """Return the condition that the newest answer for row `v` was requested `settle` days after the period's end."""
    return f"coalesce(c.lag >= {settle or 0} OR c.asked_on >= {_end(settle)}, {_boolean('false')})"


def _contained_after(settle: str | None) -> str:
    """Return the same for the last answer that contained the value: the newest, or an older one, by `absence` (`b`)."""
    return f"{_requested_after(settle)} AND coalesce(b.held_on >= {_end(settle)}, {_boolean('true')})"


def _boolean(word: str) -> str:
    return str(int(word == "true")) if _is_sqlite() else word


COVERAGE = "LEFT JOIN coverage c ON c.series_id = v.series_id AND v.day BETWEEN c.first_day AND c.last_day"
ABSENCE = "LEFT JOIN absence b ON b.series_id = v.series_id AND b.day = v.day AND b.metric_id = v.metric_id"
WIDE_SOURCE = """FROM account a
JOIN series s ON s.account_id = a.id
JOIN value v ON v.series_id = s.id
LEFT JOIN phone p ON p.account_id = s.account_id AND p.phone = s.phone"""
SAME_PERIOD = "FROM value x WHERE x.series_id = v.series_id AND x.day = v.day"


def _metric_values() -> str:
    return f"""
CREATE VIEW metric_values AS
SELECT a.name AS account, s.resource, s.phone, s.period, v.epoch, {_instant("v.epoch")} AS period_start,
  v.day AS local_date, m.name AS metric, v.value,
  {_contained_after(None)} AS complete,
  {_contained_after("a.settle_days")} AS final,
  {_instant("v.fetched_at")} AS fetched_at
FROM account a
JOIN series s ON s.account_id = a.id
JOIN value v ON v.series_id = s.id
JOIN metric m ON m.id = v.metric_id
{COVERAGE}
{ABSENCE}"""


def _wide_by_lookup(resource: str) -> str:
    """Return the view for SQLite: a row per first metric of a period; a query looks up the columns that it selects."""
    columns = "".join(
        f"\n  (SELECT x.value {SAME_PERIOD} AND x.metric_id = {number}) AS {name},"
        for name, number in WIDE[resource].items()
    )
    lacked = "NOT EXISTS (SELECT 1 FROM absence b WHERE b.series_id = v.series_id AND b.day = v.day AND b.held_on < {})"
    return f"""
CREATE VIEW {resource} AS
SELECT a.name AS account, s.phone, p.name AS phone_name, s.period, v.epoch, {_instant("v.epoch")} AS period_start,
  v.day AS local_date,{columns}
  {_requested_after(None)} AND {lacked.format(_end())} AS complete,
  {_requested_after("a.settle_days")} AND {lacked.format(_end("a.settle_days"))} AS final,
  {_instant(f"(SELECT max(x.fetched_at) {SAME_PERIOD})")} AS fetched_at
{WIDE_SOURCE}
{COVERAGE}
WHERE s.resource = '{resource}' AND v.metric_id = (SELECT min(x.metric_id) {SAME_PERIOD})"""


def _wide_by_group(resource: str) -> str:
    """Return the view for PostgreSQL: all values of a period, grouped into a row."""
    columns = "".join(
        f"\n  max(v.value) FILTER (WHERE v.metric_id = {number}) AS {name}," for name, number in WIDE[resource].items()
    )
    return f"""
CREATE VIEW {resource} AS
SELECT a.name AS account, s.phone, p.name AS phone_name, s.period, max(v.epoch) AS epoch,
  {_instant("max(v.epoch)")} AS period_start, v.day AS local_date,{columns}
  bool_and({_contained_after(None)}) AS complete,
  bool_and({_contained_after("a.settle_days")}) AS final,
  {_instant("max(v.fetched_at)")} AS fetched_at
{WIDE_SOURCE}
{COVERAGE}
{ABSENCE}
WHERE s.resource = '{resource}'
GROUP BY a.name, s.phone, p.name, s.period, v.day"""


def _revisions() -> str:
    return f"""
CREATE VIEW revisions AS
SELECT a.name AS account, s.resource, s.phone, s.period, r.epoch, m.name AS metric, r.old_value, r.new_value,
  {_instant("r.changed_at")} AS changed_at
FROM account a
JOIN series s ON s.account_id = a.id
JOIN revision r ON r.series_id = s.id
JOIN metric m ON m.id = r.metric_id"""


def upgrade() -> None:
    columns: dict[str, tuple[str, ...]] = {}
    key = ("period", "epoch", "period_start", "local_date")
    state = ("complete", "final", "fetched_at")
    op.execute(_metric_values())
    columns["metric_values"] = ("account", "resource", "phone", *key, "metric", "value", *state)
    for resource in WIDE:
        op.execute(_wide_by_lookup(resource) if _is_sqlite() else _wide_by_group(resource))
        columns[resource] = ("account", "phone", "phone_name", *key, *state)
        for part, condition in PARTS.items():
            op.execute(f"CREATE VIEW {resource}_{part} AS SELECT * FROM {resource} WHERE {condition}")
            columns[f"{resource}_{part}"] = columns[resource]
    op.execute("CREATE VIEW metrics AS SELECT resource, name AS metric, unit, additive, meaning FROM metric")
    columns["metrics"] = ("resource", "metric", "unit", "additive", "meaning")
    op.execute(_revisions())
    columns["revisions"] = ("account", "resource", "phone", *key[:2], "metric", "old_value", "new_value", "changed_at")
    if not _is_sqlite():
        _comment(columns)


def _comment(columns: dict[str, tuple[str, ...]]) -> None:
    for view, names in columns.items():
        about = VIEW_COMMENTS.get(view, "One row per account, phone, period and start of period")
        if view.endswith(("_day", "_week", "_month")):
            about += "; without ALL, so that sums over phones are safe"
        elif view.endswith("_all"):
            about += "; the series that merges all numbers, alone"
        op.execute(f"COMMENT ON VIEW {view} IS '{about}'")
        for column in names:
            op.execute(f"COMMENT ON COLUMN {view}.{column} IS '{COMMENTS[column]}'")
        for column in WIDE.get(view.partition("_")[0], {}):
            op.execute(f"COMMENT ON COLUMN {view}.{column} IS '{MEANINGS[column]}'")
