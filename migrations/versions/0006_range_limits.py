"""Range limits by resource and period, with the first and the last day that the server serves.

Widths that were known for a resource hold for each of its stored periods.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "range_limits",
        sa.Column(
            "account_id",
            sa.Integer,
            sa.ForeignKey("account.id"),
            primary_key=True,
            nullable=False,
            autoincrement=False,
        ),
        sa.Column("resource", sa.Text, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("period", sa.Text, primary_key=True, nullable=False, autoincrement=False),
        sa.Column("accepted", sa.Integer),
        sa.Column("refused", sa.Integer),
        sa.Column("refused_at", sa.BigInteger),
        sa.Column("first_served", sa.Date),
        sa.Column("lag", sa.Integer),
        sa.Column("lag_at", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO range_limits (account_id, resource, period, accepted, refused, refused_at)"
        " SELECT DISTINCT w.account_id, w.resource, s.period, w.accepted, w.refused, w.refused_at"
        " FROM width w JOIN series s ON s.account_id = w.account_id AND s.resource = w.resource"
    )
    op.drop_table("width")
