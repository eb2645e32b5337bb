"""Tables of this version. Users query the views above them (migrations/versions).

A date is the database's own DATE: ISO text in SQLite, so a filter on a view's `local_date` is a range of the key in
both databases. An instant is a whole epoch second. Values are many: their key is the integer id of the series. They
have no foreign keys, because checking those takes PostgreSQL three times as long as storing the values (measured), and
the ids were looked up in the same transaction. Series, metrics and values are never deleted.

`absence` records what the newest answer to a period lacked: with `metric_id` NO_METRIC the whole period, else a stored
value; `held_on` is the last local day on which an answer is known to have contained that value. `unconfirmed_absence`
has the whole periods among them that are to be asked for again, as spans of days (core/absence.py).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSIONS: Final = (
    "0001",
    "0002",
    "0003",
    "0004",
    "0005",
    "0006",
)  # oldest first; the last is needed
HEAD: Final = VERSIONS[-1]
VERSION_TABLE: Final = "harvester_version"  # not Alembic's usual name: a PostgreSQL schema may be shared

NO_METRIC: Final = 0
FIRST_LEARNT_METRIC: Final = 1001  # smaller ids belong to metrics known at a release

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _column(name: str, kind: Any, *args: Any, **options: Any) -> Column[Any]:  # noqa: ANN401 - as in Column
    options.setdefault("nullable", False)
    return Column(name, kind, *args, **options)


def _account_id() -> Column[Any]:
    return _column("account_id", Integer, ForeignKey("account.id"), primary_key=True, autoincrement=False)


def _series_id() -> Column[Any]:
    return _column("series_id", Integer, ForeignKey("series.id"), primary_key=True, autoincrement=False)


def _key(name: str, kind: Any) -> Column[Any]:  # noqa: ANN401 - as in Column
    return _column(name, kind, primary_key=True, autoincrement=False)


account = Table(
    "account",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    _column("name", Text),
    _column("base_url", Text),
    _column("timezone", Text),
    _column("week_start", Text),
    _column("settle_days", Integer),
    Column("start", Date),  # the configured first day
    _column("state", Text, server_default="ok"),
    _column("reason", Text, server_default=""),
    _column("holder", Text, server_default=""),  # for people; may outlive a killed holder, the lock does not
    _column("answer", Text, server_default=""),  # result of the newest contact with the API, in one line
    Column("answered_at", BigInteger),
    _column("spender", Text, server_default=""),  # key of the quota that its requests were counted in last
    UniqueConstraint("name"),
    CheckConstraint("week_start IN ('sunday', 'monday')", name="week_start"),
    CheckConstraint("state IN ('ok', 'waiting', 'paused')", name="state"),
    CheckConstraint("settle_days >= 0", name="settle_days"),
)

phone = Table("phone", metadata, _account_id(), _key("phone", Text), Column("name", Text), sqlite_with_rowid=False)

series = Table(
    "series",
    metadata,
    Column("id", Integer, Identity(), primary_key=True),
    _column("account_id", Integer, ForeignKey("account.id")),
    _column("resource", Text),
    _column("phone", Text),
    _column("period", Text),
    UniqueConstraint("account_id", "resource", "phone", "period"),
    CheckConstraint("period IN ('day', 'week', 'month')", name="period"),
)

metric = Table(
    "metric",
    metadata,
    Column("id", Integer, Identity(start=FIRST_LEARNT_METRIC), primary_key=True),
    _column("resource", Text),
    _column("name", Text),
    Column("unit", Text),
    Column("additive", Boolean),
    Column("meaning", Text),
    UniqueConstraint("resource", "name"),
)

value = Table(
    "value",
    metadata,
    _key("series_id", Integer),
    _key("day", Date),
    _key("metric_id", Integer),
    _column("epoch", BigInteger),
    Column("value", Double),
    _column("fetched_at", BigInteger),
    sqlite_with_rowid=False,
)

coverage = Table(
    "coverage",
    metadata,
    _series_id(),
    _key("first_day", Date),
    _column("last_day", Date),
    _column("asked_on", Date),
    _column("lag", Integer),
    CheckConstraint("first_day <= last_day", name="order"),
    sqlite_with_rowid=False,
)

failed_slice = Table(
    "failed_slice",
    metadata,
    _series_id(),
    _key("first_day", Date),
    _column("last_day", Date),
    _column("error_code", Text, server_default="error"),  # the HarvesterError.code of what ended the slice
    _column("error", Text),  # its message, for people
    _column("failed_at", BigInteger),
    _column("attempts", Integer),
    CheckConstraint("first_day <= last_day", name="order"),
    sqlite_with_rowid=False,
)

absence = Table(
    "absence",
    metadata,
    _series_id(),
    _key("day", Date),
    _key("metric_id", Integer),
    Column("held_on", Date),
    CheckConstraint(f"(metric_id = {NO_METRIC}) = (held_on IS NULL)", name="held_on"),
    sqlite_with_rowid=False,
)

unconfirmed_absence = Table(
    "unconfirmed_absence",
    metadata,
    _series_id(),
    _key("first_day", Date),
    _column("last_day", Date),
    _column("seen_on", Date),  # local day of the request whose answer lacked them first
    _column("width", Integer),  # days of that request; 0 if unknown
    CheckConstraint("first_day <= last_day", name="order"),
    sqlite_with_rowid=False,
)

reject = Table(
    "reject",
    metadata,
    _series_id(),
    _key("digest", BigInteger),  # of the four texts: the same reject stored again is the same row
    _column("metric", Text),
    _column("timestamp", Text),
    _column("value", Text),
    _column("reason", Text),
    _column("seen_at", BigInteger),
    sqlite_with_rowid=False,
)

revision = Table(
    "revision",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    _column("series_id", Integer, ForeignKey("series.id")),
    _column("day", Date),
    _column("metric_id", Integer, ForeignKey("metric.id")),
    _column("epoch", BigInteger),
    Column("old_value", Double),
    Column("new_value", Double),
    _column("changed_at", BigInteger),
    Index(None, "series_id", "day"),
)

# Quota and authentications are counted by the server per login, so their key is not the account's (core/spender.py).
quota = Table(
    "spender_quota",
    metadata,
    _key("spender", Text),
    _column("limit", Integer),
    _column("spent", Integer),
    Column("remaining", Integer),
    Column("resets_at", BigInteger),
    _column("server_ahead", Double),
    _column("recorded_at", Double),
    sqlite_with_rowid=False,
)

auth_attempt = Table(
    "spender_auth_attempt",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    _column("spender", Text),
    _column("at", Double),
    Index(None, "spender", "at"),
)

backfill_order = Table(
    "backfill_order",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), Identity(), primary_key=True),
    _column("account_id", Integer, ForeignKey("account.id")),
    _column("owner", Text),
    _column("heartbeat_at", BigInteger),  # by the database's clock
    _column("first_day", Date),
    _column("last_day", Date),
    _column("refetch", Boolean),
    _column("series", Text),  # JSON: [[resource, phone, period], ...]
    _column("state", Text, server_default="placed"),
    _column("report", Text, server_default=""),
    Column("error_code", Text),
    Column("error_message", Text),
    CheckConstraint("first_day <= last_day", name="order"),
    CheckConstraint("state IN ('placed', 'working', 'done')", name="state"),
    CheckConstraint("(error_code IS NULL) = (error_message IS NULL)", name="error"),
    Index(None, "account_id"),
    sqlite_autoincrement=True,  # or the id of a deleted order would be used again
)

range_limits = Table(
    "range_limits",
    metadata,
    _account_id(),
    _key("resource", Text),
    _key("period", Text),
    Column("accepted", Integer),
    Column("refused", Integer),
    Column("refused_at", BigInteger),
    Column("first_served", Date),
    Column("lag", Integer),
    Column("lag_at", BigInteger),
    sqlite_with_rowid=False,
)
