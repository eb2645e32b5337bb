"""Error code of a failed slice: planning reads the code, so the message can be reworded."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

REJECTED = "The server refuses this slice"  # the beginning of the messages of refused slices before this version


def upgrade() -> None:
    op.add_column("failed_slice", sa.Column("error_code", sa.Text, nullable=False, server_default="error"))
    beginning = f"substr(error, 1, {len(REJECTED)})"
    op.execute(f"UPDATE failed_slice SET error_code = 'rejected' WHERE {beginning} = '{REJECTED}'")  # noqa: S608
