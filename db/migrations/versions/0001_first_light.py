"""first light: the seed's tables and those they need"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from db.dialect import Digest, Document, Id, Key, LongText, Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PLAIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}
AUTO: dict[str, Any] = {**PLAIN, "sqlite_autoincrement": True}


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("partition", sa.SmallInteger(), nullable=False),
        sa.Column("aggregate", Key(40), nullable=False),
        sa.Column("job", Key(40), nullable=False),
        sa.Column("payload", Document, nullable=False),
        sa.Column("state", Key(10), nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("due_at", Moment(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("done_at", Moment(), nullable=True),
        sa.Column("fault", sa.String(length=500), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'done', 'parked')", name="state"),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        **AUTO,
    )
    op.create_index("ix_outbox_state_done_at", "outbox", ["state", "done_at"])
    op.create_index("ix_outbox_state_id", "outbox", ["state", "id"])

    op.create_table(
        "outbox_leases",
        sa.Column("partition", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("owner", Key(40), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("partition", name="pk_outbox_leases"),
        **PLAIN,
    )
    op.create_table(
        "outbox_workers",
        sa.Column("owner", Key(40), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name="pk_outbox_workers"),
        **PLAIN,
    )
    op.create_table(
        "users",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("username", Key(30), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("bio", sa.String(length=500), nullable=False),
        sa.Column("email", Key(254), nullable=True),
        sa.Column("password_hash", Key(255), nullable=False),
        sa.Column("locale", Key(35), nullable=False),
        sa.Column("timezone", Key(64), nullable=False),
        sa.Column("state", Key(10), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.CheckConstraint("state IN ('active', 'disabled', 'erasing')", name="state"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        **AUTO,
    )
    op.create_table(
        "blocks",
        sa.Column("blocker_id", Id, nullable=False),
        sa.Column("blocked_id", Id, nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.CheckConstraint("blocker_id <> blocked_id", name="not_self"),
        sa.ForeignKeyConstraint(["blocked_id"], ["users.id"], name="fk_blocks_blocked_id"),
        sa.ForeignKeyConstraint(["blocker_id"], ["users.id"], name="fk_blocks_blocker_id"),
        sa.PrimaryKeyConstraint("blocker_id", "blocked_id", name="pk_blocks"),
        **PLAIN,
    )
    op.create_index("ix_blocks_blocked_id", "blocks", ["blocked_id"])

    op.create_table(
        "friendships",
        sa.Column("low_id", Id, nullable=False),
        sa.Column("high_id", Id, nullable=False),
        sa.Column("state", Key(10), nullable=False),
        sa.Column("asked_by", Id, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", Moment(), nullable=False),
        sa.CheckConstraint("state IN ('none', 'requested', 'friends')", name="state"),
        sa.CheckConstraint("asked_by IS NULL OR asked_by IN (low_id, high_id)", name="asked_by"),
        sa.CheckConstraint("low_id < high_id", name="canonical_order"),
        sa.ForeignKeyConstraint(["high_id"], ["users.id"], name="fk_friendships_high_id"),
        sa.ForeignKeyConstraint(["low_id"], ["users.id"], name="fk_friendships_low_id"),
        sa.PrimaryKeyConstraint("low_id", "high_id", name="pk_friendships"),
        **PLAIN,
    )
    op.create_index("ix_friendships_high_id_state", "friendships", ["high_id", "state"])
    op.create_index("ix_friendships_low_id_state", "friendships", ["low_id", "state"])

    op.create_table(
        "idempotency_keys",
        sa.Column("user_id", Id, nullable=False),
        sa.Column("key", Key(128), nullable=False),
        sa.Column("request_hash", Digest, nullable=False),
        sa.Column("object_id", Id, nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_idempotency_keys_user_id"),
        sa.PrimaryKeyConstraint("user_id", "key", name="pk_idempotency_keys"),
        **PLAIN,
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])

    op.create_table(
        "posts",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("author_id", Id, nullable=False),
        sa.Column("text", LongText, nullable=False),
        sa.Column("visibility", Key(10), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("edited_at", Moment(), nullable=True),
        sa.Column("deleted_at", Moment(), nullable=True),
        sa.CheckConstraint("visibility IN ('friends', 'public', 'only_me')", name="visibility"),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"], name="fk_posts_author_id"),
        sa.PrimaryKeyConstraint("id", name="pk_posts"),
        **AUTO,
    )
    op.create_index("ix_posts_author_id_id", "posts", ["author_id", "id"])

    op.create_table(
        "relation_meta",
        sa.Column("user_id", Id, autoincrement=False, nullable=False),
        sa.Column("friends", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("friends >= 0", name="friends"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_relation_meta_user_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_relation_meta"),
        **PLAIN,
    )
    op.create_table(
        "sessions",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("token_hash", Digest, nullable=False),
        sa.Column("device", sa.String(length=200), nullable=False),
        sa.Column("address", Key(45), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("used_at", Moment(), nullable=False),
        sa.Column("expires_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_sessions_token_hash"),
        **AUTO,
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])

    op.create_table(
        "user_terms",
        sa.Column("term", Key(30), nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_user_terms_user_id"),
        sa.PrimaryKeyConstraint("term", "user_id", name="pk_user_terms"),
        **PLAIN,
    )
    op.create_index("ix_user_terms_user_id", "user_terms", ["user_id"])

    op.create_table(
        "comments",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("post_id", Id, nullable=False),
        sa.Column("author_id", Id, nullable=False),
        sa.Column("text", LongText, nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("edited_at", Moment(), nullable=True),
        sa.Column("deleted_at", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"], name="fk_comments_author_id"),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_comments_post_id"),
        sa.PrimaryKeyConstraint("id", name="pk_comments"),
        **AUTO,
    )
    op.create_index("ix_comments_author_id_id", "comments", ["author_id", "id"])
    op.create_index("ix_comments_post_id_id", "comments", ["post_id", "id"])

    op.create_table(
        "likes",
        sa.Column("id", Id, autoincrement=True, nullable=False),
        sa.Column("post_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("changed_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_likes_post_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_likes_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_likes"),
        sa.UniqueConstraint("post_id", "user_id", name="uq_likes_post_id_user_id"),
        **AUTO,
    )
    op.create_index("ix_likes_user_id_post_id", "likes", ["user_id", "post_id"])

    op.create_table(
        "post_counts",
        sa.Column("post_id", Id, autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("likes", sa.Integer(), nullable=False),
        sa.Column("comments", sa.Integer(), nullable=False),
        sa.Column("shares", sa.Integer(), nullable=False),
        sa.CheckConstraint("likes >= 0 AND comments >= 0 AND shares >= 0", name="not_negative"),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_post_counts_post_id"),
        sa.PrimaryKeyConstraint("post_id", name="pk_post_counts"),
        **PLAIN,
    )
    op.create_table(
        "shares",
        sa.Column("post_id", Id, autoincrement=False, nullable=False),
        sa.Column("shared_id", Id, nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.CheckConstraint("post_id <> shared_id", name="not_self"),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_shares_post_id"),
        sa.ForeignKeyConstraint(["shared_id"], ["posts.id"], name="fk_shares_shared_id"),
        sa.PrimaryKeyConstraint("post_id", name="pk_shares"),
        **PLAIN,
    )
    op.create_index("ix_shares_shared_id", "shares", ["shared_id"])
    # One row per partition, free: the dispatchers lock these to share them out.
    leases = sa.table(
        "outbox_leases",
        sa.column("partition", sa.SmallInteger),
        sa.column("owner", sa.String),
        sa.column("fence", sa.Integer),
        sa.column("expires_at", Moment),
    )
    free = datetime(1970, 1, 2, tzinfo=UTC)
    op.bulk_insert(leases, [{"partition": p, "owner": "", "fence": 0, "expires_at": free} for p in range(16)])


def downgrade() -> None:
    op.drop_table("shares")
    op.drop_table("post_counts")
    op.drop_table("likes")
    op.drop_table("comments")
    op.drop_table("user_terms")
    op.drop_table("sessions")
    op.drop_table("relation_meta")
    op.drop_table("posts")
    op.drop_table("idempotency_keys")
    op.drop_table("friendships")
    op.drop_table("blocks")
    op.drop_table("users")
    op.drop_table("outbox_workers")
    op.drop_table("outbox_leases")
    op.drop_table("outbox")
