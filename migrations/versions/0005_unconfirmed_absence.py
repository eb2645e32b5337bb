"""Unconfirmed absence: what earlier versions stored as absent counts as seen once, in an answer of unknown width."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Absent periods whose answer was asked for after their end; neighbouring days that were asked for alike share a span.
SEEN_ONCE = """
INSERT INTO unconfirmed_absence (series_id, first_day, last_day, seen_on, width)
SELECT series_id, min(day), {last}, max(asked_on), 0
FROM (
  SELECT b.series_id, b.day, s.period, c.asked_on,
    {number} - row_number() OVER (PARTITION BY b.series_id, c.first_day ORDER BY b.day) AS island
  FROM absence b
  JOIN series s ON s.id = b.series_id
  JOIN coverage c ON c.series_id = b.series_id AND b.day BETWEEN c.first_day AND c.last_day
  WHERE b.metric_id = 0 AND (c.lag >= 0 OR c.asked_on >= {end})
) absent
GROUP BY series_id, period, asked_on, island, {each}"""
SQLITE = {
    "number": "julianday(b.day)",
    "end": "CASE s.period WHEN 'day' THEN date(b.day, '+1 day') WHEN 'week' THEN date(b.day, '+7 days')"
    " ELSE date(b.day, '+1 month') END",
    "last": "CASE period WHEN 'day' THEN max(day) WHEN 'week' THEN date(max(day), '+6 days')"
    " ELSE date(max(day), '+1 month', '-1 day') END",
    "each": "CASE period WHEN 'day' THEN '' ELSE day END",
}
POSTGRESQL = {
    "number": "(b.day - DATE '2000-01-01')",
    "end": "CASE s.period WHEN 'day' THEN b.day + 1 WHEN 'week' THEN b.day + 7"
    " ELSE CAST(b.day + INTERVAL '1 month' AS date) END",
    "last": "CASE period WHEN 'day' THEN max(day) WHEN 'week' THEN max(day) + 6"
    " ELSE CAST(max(day) + INTERVAL '1 month' AS date) - 1 END",
    "each": "CASE period WHEN 'day' THEN NULL ELSE day END",
}


def upgrade() -> None:
    op.create_table(
        "unconfirmed_absence",
        sa.Column("series_id", sa.Integer, sa.ForeignKey("series.id"), nullable=False, autoincrement=False),
        sa.Column("first_day", sa.Date, nullable=False),
        sa.Column("last_day", sa.Date, nullable=False),
        sa.Column("seen_on", sa.Date, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("series_id", "first_day"),
        sa.CheckConstraint("first_day <= last_day", name="order"),
        sqlite_with_rowid=False,
    )
    parts = SQLITE if op.get_context().dialect.name == "sqlite" else POSTGRESQL
    op.execute(SEEN_ONCE.format(**parts))
