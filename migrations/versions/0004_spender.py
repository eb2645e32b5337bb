"""Quota and authentications by what the server counts, a login at an API, instead of by the account's name.

No version before knew the login in the database. What it stored is taken over by the first claim of the account.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COLUMNS = '"limit", spent, remaining, resets_at, server_ahead, recorded_at'
OWN = "'account ' || a.name"


def upgrade() -> None:
    op.add_column("account", sa.Column("spender", sa.Text, nullable=False, server_default=""))
    op.create_table(
        "spender_quota",
        sa.Column("spender", sa.Text, primary_key=True, nullable=False),
        sa.Column("limit", sa.Integer, nullable=False),
        sa.Column("spent", sa.Integer, nullable=False),
        sa.Column("remaining", sa.Integer),
        sa.Column("resets_at", sa.BigInteger),
        sa.Column("server_ahead", sa.Double, nullable=False),
        sa.Column("recorded_at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "spender_auth_attempt",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("spender", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("ix_spender_auth_attempt_spender_at", "spender_auth_attempt", ["spender", "at"])
    op.execute(
        f"INSERT INTO spender_quota (spender, {COLUMNS})"  # noqa: S608 - constants
        f" SELECT {OWN}, {COLUMNS} FROM quota JOIN account a ON a.id = quota.account_id"
    )
    op.execute(
        "INSERT INTO spender_auth_attempt (spender, at)"  # noqa: S608 - constants
        f" SELECT {OWN}, at FROM auth_attempt JOIN account a ON a.id = auth_attempt.account_id"
    )
    op.drop_table("quota")
    op.drop_table("auth_attempt")
