"""schedule: ticks, daily figures and what they are made from, and the indexes by time"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from db.dialect import Id, Key, Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PLAIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
BY_TIME = {
    "users": ["created_at"],
    "friendships": ["changed_at"],
    "posts": ["created_at"],
    "comments": ["created_at", "deleted_at", "post_id", "author_id"],
    "likes": ["changed_at", "active", "post_id", "user_id"],
    "shares": ["created_at", "shared_id"],
}


def upgrade() -> None:
    op.create_table(
        "ticks",
        sa.Column("job", Key(40), nullable=False),
        sa.Column("tick", Moment(), nullable=False),
        sa.Column("owner", Key(40), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.Column("done_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("job", "tick", name="pk_ticks"),
        **PLAIN,
    )
    op.create_table(
        "active_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_active_days_user_id"),
        sa.PrimaryKeyConstraint("day", "user_id", name="pk_active_days"),
        **PLAIN,
    )
    op.create_index("ix_active_days_user_id", "active_days", ["user_id"])
    op.create_table(
        "delivery_times",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("upto_ms", sa.Integer(), nullable=False),
        sa.Column("deliveries", Id, nullable=False),
        sa.PrimaryKeyConstraint("day", "upto_ms", name="pk_delivery_times"),
        **PLAIN,
    )
    op.create_table(
        "daily_figures",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", Key(40), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("day", "name", name="pk_daily_figures"),
        **PLAIN,
    )
    for table, columns in BY_TIME.items():
        op.create_index("_".join(("ix", table, *columns)), table, columns)

    # The new one first: a foreign key is never without an index.
    op.create_index("ix_comments_author_id_post_id", "comments", ["author_id", "post_id"])
    op.drop_index("ix_comments_author_id_id", "comments")


def downgrade() -> None:
    op.create_index("ix_comments_author_id_id", "comments", ["author_id", "id"])
    op.drop_index("ix_comments_author_id_post_id", "comments")
    for table, columns in BY_TIME.items():
        op.drop_index("_".join(("ix", table, *columns)), table)
    for table in ("daily_figures", "delivery_times", "active_days", "ticks"):
        op.drop_table(table)
