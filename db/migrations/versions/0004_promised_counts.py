"""outbox: what is promised to one aggregate, found without reading what waits for the others"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_outbox_aggregate_state", "outbox", ["aggregate", "state"])


def downgrade() -> None:
    op.drop_index("ix_outbox_aggregate_state", "outbox")
