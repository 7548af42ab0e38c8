"""posts: what edits replaced, mentions, tags, search; a share outlives what it shares"""

from typing import Any

import sqlalchemy as sa
from alembic import op

from db.dialect import Id, Key, LongText, Moment, Words

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PLAIN: dict[str, Any] = {"mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin", "mysql_engine": "InnoDB"}


def upgrade() -> None:
    op.create_table(
        "post_versions",
        sa.Column("post_id", Id, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("text", LongText, nullable=False),
        sa.Column("visibility", Key(10), nullable=False),
        sa.Column("replaced_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_post_versions_post_id"),
        sa.PrimaryKeyConstraint("post_id", "version", name="pk_post_versions"),
        **PLAIN,
    )
    op.create_table(
        "mentions",
        sa.Column("post_id", Id, nullable=False),
        sa.Column("user_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_mentions_post_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_mentions_user_id"),
        sa.PrimaryKeyConstraint("post_id", "user_id", name="pk_mentions"),
        **PLAIN,
    )
    op.create_index("ix_mentions_user_id", "mentions", ["user_id"])

    op.create_table(
        "post_tags",
        sa.Column("tag", Key(50), nullable=False),
        sa.Column("post_id", Id, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_post_tags_post_id"),
        sa.PrimaryKeyConstraint("tag", "post_id", name="pk_post_tags"),
        **PLAIN,
    )
    op.create_index("ix_post_tags_post_id", "post_tags", ["post_id"])

    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE post_words USING fts5(words, tokenize = 'ascii', detail = 'column', columnsize = 0)"
        )
    else:
        op.create_table(
            "post_words",
            sa.Column("post_id", Id, autoincrement=False, nullable=False),
            sa.Column("words", Words, nullable=False),
            sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_post_words_post_id"),
            sa.PrimaryKeyConstraint("post_id", name="pk_post_words"),
            **PLAIN,
        )
        op.create_index("ix_post_words_words", "post_words", ["words"], mysql_prefix="FULLTEXT")

    with op.batch_alter_table("shares", copy_from=_shares(shared_exists=True)) as batch:
        batch.drop_constraint("fk_shares_shared_id", type_="foreignkey")


def downgrade() -> None:
    op.execute("DELETE FROM shares WHERE shared_id NOT IN (SELECT id FROM posts)")
    with op.batch_alter_table("shares", copy_from=_shares(shared_exists=False)) as batch:
        batch.create_foreign_key("fk_shares_shared_id", "posts", ["shared_id"], ["id"])
    op.drop_table("post_words")
    op.drop_table("post_tags")
    op.drop_table("mentions")
    op.drop_table("post_versions")


def _shares(*, shared_exists: bool) -> sa.Table:
    """The table as SQLite copies it, which cannot drop a constraint."""
    shared = (sa.ForeignKeyConstraint(["shared_id"], ["posts.id"], name="fk_shares_shared_id"),)
    return sa.Table(
        "shares",
        sa.MetaData(),
        sa.Column("post_id", Id, autoincrement=False, nullable=False),
        sa.Column("shared_id", Id, nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.CheckConstraint("post_id <> shared_id", name="not_self"),
        sa.ForeignKeyConstraint(["post_id"], ["posts.id"], name="fk_shares_post_id"),
        *(shared if shared_exists else ()),
        sa.PrimaryKeyConstraint("post_id", name="pk_shares"),
        sa.Index("ix_shares_shared_id", "shared_id"),
    )
