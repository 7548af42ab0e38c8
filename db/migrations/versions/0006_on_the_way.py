"""outbox: one job's rows without the others'; likes and comments: what somebody did lately"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

INDEXES = {"outbox": ["job", "state"], "comments": ["author_id", "created_at"], "likes": ["user_id", "changed_at"]}


def upgrade() -> None:
    for table, columns in INDEXES.items():
        op.create_index("_".join(("ix", table, *columns)), table, columns)


def downgrade() -> None:
    for table, columns in INDEXES.items():
        op.drop_index("_".join(("ix", table, *columns)), table)
