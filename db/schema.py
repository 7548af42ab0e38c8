"""The tables. Constraints live here, not in hope: unique pairs, foreign keys, the order of a friendship's two ids.

Conventions: `id` grows and stays below 2^53; moments are UTC with milliseconds; counters are never in a row that
others reference (`post_counts`, `relation_meta`), because a transaction that inserts a child locks its parent shared
and two of them that then update it deadlock. Nothing cascades beyond sessions: deletion is a tombstone now, chunks
later.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
)

from db.dialect import Digest, Document, Id, Key, LongText, Moment, Words

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# AUTOINCREMENT on SQLite: a deleted id is never given out again, as on InnoDB.
AUTO: dict[str, Any] = {
    "sqlite_autoincrement": True,
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}
PLAIN: dict[str, Any] = {name: value for name, value in AUTO.items() if name.startswith("mysql")}

users = Table(
    "users",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("version", Integer, nullable=False, default=1),
    Column("username", Key(30), nullable=False),  # folded
    Column("name", String(100), nullable=False),
    Column("bio", String(500), nullable=False, default=""),
    Column("email", Key(254), nullable=True),
    Column("password_hash", Key(255), nullable=False),
    Column("locale", Key(35), nullable=False, default="en"),
    Column("timezone", Key(64), nullable=False, default="UTC"),
    Column("state", Key(10), nullable=False, default="active"),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("username"),
    Index(None, "created_at"),
    CheckConstraint("state IN ('active', 'disabled', 'erasing')", name="state"),
    **AUTO,
)

# Each folded word of a name and the username, for people search by an indexed prefix.
user_terms = Table(
    "user_terms",
    metadata,
    Column("term", Key(30), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    PrimaryKeyConstraint("term", "user_id"),
    Index(None, "user_id"),
    **PLAIN,
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("user_id", Id, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("token_hash", Digest, nullable=False),
    Column("device", String(200), nullable=False),
    Column("address", Key(45), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("used_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    UniqueConstraint("token_hash"),
    Index(None, "user_id"),
    Index(None, "expires_at"),
    **AUTO,
)

# One row per pair, made by the first ask and kept for ever: the lock of the pair. state 'none' = strangers again.
friendships = Table(
    "friendships",
    metadata,
    Column("low_id", Id, ForeignKey("users.id"), nullable=False),
    Column("high_id", Id, ForeignKey("users.id"), nullable=False),
    Column("state", Key(10), nullable=False),
    Column("asked_by", Id, nullable=True),
    Column("version", Integer, nullable=False, default=1),
    Column("changed_at", Moment, nullable=False),
    PrimaryKeyConstraint("low_id", "high_id"),
    CheckConstraint("low_id < high_id", name="canonical_order"),
    CheckConstraint("state IN ('none', 'requested', 'friends')", name="state"),
    CheckConstraint("asked_by IS NULL OR asked_by IN (low_id, high_id)", name="asked_by"),
    Index(None, "low_id", "state"),
    Index(None, "high_id", "state"),
    Index(None, "changed_at"),
    **PLAIN,
)

# Number of friends and a version that grows with every change of a user's relations; fan-out checks the version.
relation_meta = Table(
    "relation_meta",
    metadata,
    Column("user_id", Id, ForeignKey("users.id"), primary_key=True, autoincrement=False),
    Column("friends", Integer, nullable=False, default=0),
    Column("version", Integer, nullable=False, default=1),
    CheckConstraint("friends >= 0", name="friends"),
    **PLAIN,
)

blocks = Table(
    "blocks",
    metadata,
    Column("blocker_id", Id, ForeignKey("users.id"), nullable=False),
    Column("blocked_id", Id, ForeignKey("users.id"), nullable=False),
    Column("created_at", Moment, nullable=False),
    PrimaryKeyConstraint("blocker_id", "blocked_id"),
    CheckConstraint("blocker_id <> blocked_id", name="not_self"),
    Index(None, "blocked_id"),
    **PLAIN,
)

posts = Table(
    "posts",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("version", Integer, nullable=False, default=1),
    Column("author_id", Id, ForeignKey("users.id"), nullable=False),
    Column("text", LongText, nullable=False),
    Column("visibility", Key(10), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("edited_at", Moment, nullable=True),
    Column("deleted_at", Moment, nullable=True),
    CheckConstraint("visibility IN ('friends', 'public', 'only_me')", name="visibility"),
    Index(None, "author_id", "id"),
    Index(None, "created_at"),
    **AUTO,
)

post_counts = Table(
    "post_counts",
    metadata,
    Column("post_id", Id, ForeignKey("posts.id"), primary_key=True, autoincrement=False),
    Column("version", Integer, nullable=False, default=1),
    Column("likes", Integer, nullable=False, default=0),
    Column("comments", Integer, nullable=False, default=0),
    Column("shares", Integer, nullable=False, default=0),
    CheckConstraint("likes >= 0 AND comments >= 0 AND shares >= 0", name="not_negative"),
    **PLAIN,
)

comments = Table(
    "comments",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("version", Integer, nullable=False, default=1),
    Column("post_id", Id, ForeignKey("posts.id"), nullable=False),
    Column("author_id", Id, ForeignKey("users.id"), nullable=False),
    Column("text", LongText, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("edited_at", Moment, nullable=True),
    Column("deleted_at", Moment, nullable=True),
    Index(None, "post_id", "id"),
    Index(None, "author_id", "post_id"),
    Index(None, "author_id", "created_at"),
    Index(None, "created_at", "deleted_at", "post_id", "author_id"),  # all that trending reads of an hour
    **AUTO,
)

# The row stays when a like is taken back: `active` turns, so that like/unlike/like is one row and one order.
likes = Table(
    "likes",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("post_id", Id, ForeignKey("posts.id"), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("active", Boolean(create_constraint=False), nullable=False),
    Column("changed_at", Moment, nullable=False),
    UniqueConstraint("post_id", "user_id"),
    Index(None, "user_id", "post_id"),
    Index(None, "user_id", "changed_at"),
    Index(None, "changed_at", "active", "post_id", "user_id"),  # all that trending reads of an hour
    **AUTO,
)

# The edge from a sharing post to the shared one; the sharing post is an ordinary row of `posts`. An edge outlives what
# it shares, which is no foreign key therefore: the share of a post whose author is erased shows a tombstone.
shares = Table(
    "shares",
    metadata,
    Column("post_id", Id, ForeignKey("posts.id"), primary_key=True, autoincrement=False),
    Column("shared_id", Id, nullable=False),
    Column("created_at", Moment, nullable=False),
    Index(None, "shared_id"),
    Index(None, "created_at", "shared_id"),
    CheckConstraint("post_id <> shared_id", name="not_self"),
    **PLAIN,
)

# What an edit replaced, for the author's eyes.
post_versions = Table(
    "post_versions",
    metadata,
    Column("post_id", Id, ForeignKey("posts.id"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("text", LongText, nullable=False),
    Column("visibility", Key(10), nullable=False),
    Column("replaced_at", Moment, nullable=False),
    PrimaryKeyConstraint("post_id", "version"),
    **PLAIN,
)

# Made from the text of a post and written with it: who is named in it, its tags, the words that search finds it by.
mentions = Table(
    "mentions",
    metadata,
    Column("post_id", Id, ForeignKey("posts.id"), nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    PrimaryKeyConstraint("post_id", "user_id"),
    Index(None, "user_id"),
    **PLAIN,
)

post_tags = Table(
    "post_tags",
    metadata,
    Column("tag", Key(50), nullable=False),  # folded
    Column("post_id", Id, ForeignKey("posts.id"), nullable=False),
    PrimaryKeyConstraint("tag", "post_id"),
    Index(None, "post_id"),
    **PLAIN,
)

post_words = Table(
    "post_words",
    metadata,
    Column("post_id", Id, ForeignKey("posts.id"), primary_key=True, autoincrement=False),
    Column("words", Words, nullable=False),  # spelled as `db.post_texts.spelled` does
    Index(None, "words", mysql_prefix="FULLTEXT").ddl_if(dialect=("mysql", "mariadb")),  # type: ignore[arg-type]
    info={"fts5": "words, tokenize = 'ascii', detail = 'column', columnsize = 0"},
    **PLAIN,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    Column("key", Key(128), nullable=False),
    Column("request_hash", Digest, nullable=False),  # of operation and body
    Column("object_id", Id, nullable=False),
    Column("created_at", Moment, nullable=False),
    PrimaryKeyConstraint("user_id", "key"),
    Index(None, "created_at"),
    **PLAIN,
)

# Work that a commit promised. Rows are found by state, never by "id > last": ids are not given out in commit order.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("partition", SmallInteger, nullable=False),  # of the aggregate; divides leases, carries no order
    Column("aggregate", Key(40), nullable=False),
    Column("job", Key(40), nullable=False),
    Column("payload", Document, nullable=False),  # JSON with a format version `v`
    Column("state", Key(10), nullable=False, default="pending"),
    Column("attempts", SmallInteger, nullable=False, default=0),
    Column("due_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("done_at", Moment, nullable=True),
    Column("fault", String(500), nullable=True),
    CheckConstraint("state IN ('pending', 'done', 'parked')", name="state"),
    Index(None, "state", "id"),
    Index(None, "aggregate", "state"),  # what is promised to one post
    Index(None, "job", "state"),  # posts that are on their way, whatever else waits
    Index(None, "state", "done_at"),
    **AUTO,
)

# Who may work on a partition, until when. A row per partition is there from the first migration on: what is not there
# cannot be locked. `fence` grows with every change of owner: a late writer is refused.
outbox_leases = Table(
    "outbox_leases",
    metadata,
    Column("partition", SmallInteger, primary_key=True, autoincrement=False),
    Column("owner", Key(40), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires_at", Moment, nullable=False),
    **PLAIN,
)

# Workers alive: what the partitions are divided by.
outbox_workers = Table(
    "outbox_workers",
    metadata,
    Column("owner", Key(40), primary_key=True),
    Column("expires_at", Moment, nullable=False),
    **PLAIN,
)

# What ended somebody's right to see something, written with the change itself. Every edge reads the new rows twice a
# second: the promise of open connections holds also while Redis is down. Kept for a day (`workers.clean_up`).
revocations = Table(
    "revocations",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("kind", Key(10), nullable=False),
    Column("subject", Id, nullable=False),
    Column("other", Id, nullable=False),
    Column("created_at", Moment, nullable=False),
    CheckConstraint("kind IN ('session', 'account', 'parted', 'friends', 'post', 'comment')", name="kind"),
    Index(None, "created_at"),
    **AUTO,
)

# Runs of scheduled jobs: whoever inserts a tick, or finds its lease expired, runs it; `done_at` makes it once.
ticks = Table(
    "ticks",
    metadata,
    Column("job", Key(40), nullable=False),
    Column("tick", Moment, nullable=False),
    Column("owner", Key(40), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("done_at", Moment, nullable=True),
    PrimaryKeyConstraint("job", "tick"),
    **PLAIN,
)

# Who was there on a day (UTC). Kept as long as a day may be counted again (`workers.clean_up`).
active_days = Table(
    "active_days",
    metadata,
    Column("day", Date, nullable=False),
    Column("user_id", Id, ForeignKey("users.id"), nullable=False),
    PrimaryKeyConstraint("day", "user_id"),
    Index(None, "user_id"),
    **PLAIN,
)

# How long deliveries of a day took, added up over all edges: those of at most `upto_ms` and more than the next lower.
delivery_times = Table(
    "delivery_times",
    metadata,
    Column("day", Date, nullable=False),
    Column("upto_ms", Integer, nullable=False),
    Column("deliveries", Id, nullable=False),
    PrimaryKeyConstraint("day", "upto_ms"),
    **PLAIN,
)

# What a day (UTC) came to, one row per figure.
daily_figures = Table(
    "daily_figures",
    metadata,
    Column("day", Date, nullable=False),
    Column("name", Key(40), nullable=False),
    Column("value", Double, nullable=False),
    PrimaryKeyConstraint("day", "name"),
    **PLAIN,
)
