"""revocations: what ended somebody's right to see something, for every edge to read"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from db.dialect import Id, Key, Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

AUTO: dict[str, Any] = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
    "sqlite_autoincrement": True,
}
KINDS = "kind IN ('session', 'account', 'parted', 'friends', 'post', 'comment')"


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("kind", Key(10), nullable=False),
        sa.Column("subject", Id, nullable=False),
        sa.Column("other", Id, nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.CheckConstraint(KINDS, name="kind"),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
        **AUTO,
    )
    op.create_index("ix_revocations_created_at", "revocations", ["created_at"])


def downgrade() -> None:
    op.drop_table("revocations")
