"""Tables, and the metrics known at release."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

METRICS: tuple[tuple[int, str, str, str, bool, str], ...] = (
    # Frozen: a release that knows more metrics adds them in a migration of its own.
    (1, "performance", "calls", "calls", True, "Calls handled"),
    (2, "performance", "js_errors", "errors", True, "JavaScript errors in the voice application"),
    (3, "performance", "js_errors_per_call", "errors/call", False, "JavaScript errors for each call"),
    (4, "performance", "fetch_errors", "errors", True, "Pages or files that the platform could not fetch"),
    (5, "performance", "fetch_errors_per_call", "errors/call", False, "Failed fetches for each call"),
    (6, "performance", "average_page_load", "s", False, "Mean time to load a page"),
    (7, "volume", "calls", "calls", True, "Calls handled"),
    (8, "volume", "call_minutes", "min", True, "Time spent in calls"),
    (9, "volume", "transfers", "transfers", True, "Calls passed on to another number"),
    (10, "volume", "transfer_minutes", "min", True, "Time spent in transferred calls"),
    (11, "events", "calls", "calls", True, "Calls handled"),
    (12, "events", "log_events", "events", True, "Entries written to the application's log"),
    (13, "events", "loops_per_call", "loops/call", False, "Loops for each call"),
    (14, "events", "form_items", "items", True, "Form items visited"),
    (15, "events", "loops", "loops", True, "Form items visited again in the same call"),
    (16, "events", "average_form_items", "items/call", False, "Mean number of form items in a call"),
    (17, "profile", "calls", "calls", True, "Calls handled"),
    (18, "profile", "callers", "callers", False, "Unique callers"),
)
Kind = type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]


def _own_id(kind: Kind = sa.Integer, first: int | None = None) -> sa.Column[Any]:
    return sa.Column("id", kind, sa.Identity(start=first), primary_key=True)


def _big_serial() -> Kind:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(name: str, kind: Kind, *args: sa.ForeignKey) -> sa.Column[Any]:
    return sa.Column(name, kind, *args, primary_key=True, autoincrement=False, nullable=False)


def _required(name: str, kind: Kind, *args: sa.ForeignKey, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind, *args, nullable=False, server_default=default)


def _series_key() -> sa.Column[Any]:
    return _key("series_id", sa.Integer, sa.ForeignKey("series.id"))


def _account_key() -> sa.Column[Any]:
    return _key("account_id", sa.Integer, sa.ForeignKey("account.id"))


def _create_keyed(name: str, *columns: sa.schema.SchemaItem) -> None:
    op.create_table(name, *columns, sqlite_with_rowid=False)


def upgrade() -> None:
    _create_names()
    _create_values()
    _create_slice_state()
    _create_account_state()
    _create_orders()


def _create_names() -> None:
    op.create_table(
        "account",
        _own_id(),
        _required("name", sa.Text),
        _required("base_url", sa.Text),
        _required("timezone", sa.Text),
        _required("week_start", sa.Text),
        _required("settle_days", sa.Integer),
        sa.Column("start", sa.Date),
        _required("state", sa.Text, default="ok"),
        _required("reason", sa.Text, default=""),
        _required("holder", sa.Text, default=""),
        _required("answer", sa.Text, default=""),
        sa.Column("answered_at", sa.BigInteger),
        sa.UniqueConstraint("name"),
        sa.CheckConstraint("week_start IN ('sunday', 'monday')", name="week_start"),
        sa.CheckConstraint("state IN ('ok', 'waiting', 'paused')", name="state"),
        sa.CheckConstraint("settle_days >= 0", name="settle_days"),
    )
    _create_keyed("phone", _account_key(), _key("phone", sa.Text), sa.Column("name", sa.Text))
    op.create_table(
        "series",
        _own_id(),
        _required("account_id", sa.Integer, sa.ForeignKey("account.id")),
        _required("resource", sa.Text),
        _required("phone", sa.Text),
        _required("period", sa.Text),
        sa.UniqueConstraint("account_id", "resource", "phone", "period"),
        sa.CheckConstraint("period IN ('day', 'week', 'month')", name="period"),
    )
    metric = op.create_table(
        "metric",
        _own_id(first=1001),
        _required("resource", sa.Text),
        _required("name", sa.Text),
        sa.Column("unit", sa.Text),
        sa.Column("additive", sa.Boolean),
        sa.Column("meaning", sa.Text),
        sa.UniqueConstraint("resource", "name"),
    )
    columns = ("id", "resource", "name", "unit", "additive", "meaning")
    op.bulk_insert(metric, [dict(zip(columns, row, strict=True)) for row in METRICS])


def _create_values() -> None:
    _create_keyed(
        "value",
        _key("series_id", sa.Integer),
        _key("day", sa.Date),
        _key("metric_id", sa.Integer),
        _required("epoch", sa.BigInteger),
        sa.Column("value", sa.Double),
        _required("fetched_at", sa.BigInteger),
    )
    _create_keyed(
        "absence",
        _series_key(),
        _key("day", sa.Date),
        _key("metric_id", sa.Integer),
        sa.Column("held_on", sa.Date),
        sa.CheckConstraint("(metric_id = 0) = (held_on IS NULL)", name="held_on"),
    )
    _create_keyed(
        "reject",
        _series_key(),
        _key("digest", sa.BigInteger),
        _required("metric", sa.Text),
        _required("timestamp", sa.Text),
        _required("value", sa.Text),
        _required("reason", sa.Text),
        _required("seen_at", sa.BigInteger),
    )
    op.create_table(
        "revision",
        _own_id(_big_serial()),
        _required("series_id", sa.Integer, sa.ForeignKey("series.id")),
        _required("day", sa.Date),
        _required("metric_id", sa.Integer, sa.ForeignKey("metric.id")),
        _required("epoch", sa.BigInteger),
        sa.Column("old_value", sa.Double),
        sa.Column("new_value", sa.Double),
        _required("changed_at", sa.BigInteger),
    )
    op.create_index(op.f("ix_revision_series_id_day"), "revision", ["series_id", "day"])


def _create_slice_state() -> None:
    _create_keyed(
        "coverage",
        _series_key(),
        _key("first_day", sa.Date),
        _required("last_day", sa.Date),
        _required("asked_on", sa.Date),
        _required("lag", sa.Integer),
        sa.CheckConstraint("first_day <= last_day", name="order"),
    )
    _create_keyed(
        "failed_slice",
        _series_key(),
        _key("first_day", sa.Date),
        _required("last_day", sa.Date),
        _required("error", sa.Text),
        _required("failed_at", sa.BigInteger),
        _required("attempts", sa.Integer),
        sa.CheckConstraint("first_day <= last_day", name="order"),
    )


def _create_account_state() -> None:
    _create_keyed(
        "quota",
        _account_key(),
        _required("limit", sa.Integer),
        _required("spent", sa.Integer),
        sa.Column("remaining", sa.Integer),
        sa.Column("resets_at", sa.BigInteger),
        _required("server_ahead", sa.Double),
        _required("recorded_at", sa.Double),
    )
    op.create_table(
        "auth_attempt",
        _own_id(_big_serial()),
        _required("account_id", sa.Integer, sa.ForeignKey("account.id")),
        _required("at", sa.Double),
    )
    op.create_index(op.f("ix_auth_attempt_account_id_at"), "auth_attempt", ["account_id", "at"])
    _create_keyed(
        "width",
        _account_key(),
        _key("resource", sa.Text),
        sa.Column("accepted", sa.Integer),
        sa.Column("refused", sa.Integer),
        sa.Column("refused_at", sa.BigInteger),
    )


def _create_orders() -> None:
    op.create_table(
        "backfill_order",
        _own_id(_big_serial()),
        _required("account_id", sa.Integer, sa.ForeignKey("account.id")),
        _required("owner", sa.Text),
        _required("heartbeat_at", sa.BigInteger),
        _required("first_day", sa.Date),
        _required("last_day", sa.Date),
        _required("refetch", sa.Boolean),
        _required("series", sa.Text),
        _required("state", sa.Text, default="placed"),
        _required("report", sa.Text, default=""),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.CheckConstraint("first_day <= last_day", name="order"),
        sa.CheckConstraint("state IN ('placed', 'working', 'done')", name="state"),
        sa.CheckConstraint("(error_code IS NULL) = (error_message IS NULL)", name="error"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_backfill_order_account_id"), "backfill_order", ["account_id"])
