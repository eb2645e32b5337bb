"""A code for what ended a failed slice: planning reads the code, so the wording of the message is free to change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REJECTED = "The server refuses this slice"  # how a message begins that was stored for a refused slice before this


def upgrade() -> None:
    op.add_column("failed_slice", sa.Column("error_code", sa.Text, nullable=False, server_default="error"))
    beginning = f"substr(error, 1, {len(REJECTED)})"
    op.execute(f"UPDATE failed_slice SET error_code = 'rejected' WHERE {beginning} = '{REJECTED}'")  # noqa: S608
