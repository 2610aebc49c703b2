"""Notices to people: what was looked at, what is wrong and told, and what waits to be sent.

Revision ID: 0010

Only the owner of the installation reads and writes here: a notice speaks of every tenant's sources, and the service's
role is granted nothing. Texts are redacted before they come here, and no address of a receiver does.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STATEMENTS = """
CREATE TABLE audit.notice_runs (
    run_id    text PRIMARY KEY,
    ended_at  timestamptz NOT NULL,
    looked_at timestamptz NOT NULL DEFAULT now(),
    facts     jsonb NOT NULL,
    digest    jsonb NOT NULL,
    known     jsonb NOT NULL
);
COMMENT ON TABLE audit.notice_runs IS 'Runs that were looked at for notices: each once.';
COMMENT ON COLUMN audit.notice_runs.facts IS 'What Dagster said of it.';
COMMENT ON COLUMN audit.notice_runs.digest IS 'What of it was news; known: what was not told again.';
CREATE INDEX notice_runs_ended ON audit.notice_runs (ended_at DESC);

CREATE TABLE audit.troubles (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      text NOT NULL,
    source    text NOT NULL,
    place     text NOT NULL,
    code      text NOT NULL,
    severity  text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    opened_at timestamptz NOT NULL,
    last_at   timestamptz NOT NULL,
    told_at   timestamptz NOT NULL,
    times     integer NOT NULL,
    failing   text[] NOT NULL,
    told      text[] NOT NULL,
    closed_at timestamptz
);
COMMENT ON TABLE audit.troubles IS 'What is wrong, told once under kind, place and code until it is over.';
COMMENT ON COLUMN audit.troubles.failing IS 'Marks (hashes) of what fails now; told: of all that was told while it lasts.';
CREATE UNIQUE INDEX troubles_open ON audit.troubles (kind, place, code) WHERE closed_at IS NULL;

CREATE TABLE audit.notices (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    receiver       text NOT NULL,
    key            text NOT NULL,
    severity       text NOT NULL CHECK (severity IN ('info', 'warning', 'error', 'critical')),
    digest         jsonb NOT NULL,
    created_at     timestamptz NOT NULL,
    next_at        timestamptz NOT NULL,
    batch          uuid,
    attempts       integer NOT NULL DEFAULT 0,
    first_tried_at timestamptz,
    delivered_at   timestamptz,
    given_up_at    timestamptz,
    last_status    integer,
    last_error     text,
    UNIQUE (receiver, key)
);
COMMENT ON TABLE audit.notices IS 'What receivers of notices.yaml are told: kept until they have it, or it was given up.';
COMMENT ON COLUMN audit.notices.key IS 'What it is of, a run for one: it comes once, whoever writes it.';
COMMENT ON COLUMN audit.notices.batch IS 'The message that it is sent with: the same each time it is tried.';
CREATE INDEX notices_waiting ON audit.notices (receiver, created_at)
    WHERE delivered_at IS NULL AND given_up_at IS NULL;
CREATE INDEX notices_ended ON audit.notices ((coalesce(delivered_at, given_up_at)));
"""


def upgrade() -> None:
    """Make the tables."""
    op.execute(STATEMENTS)


def downgrade() -> None:
    """Drop them: what was not sent yet is not sent any more."""
    op.execute("DROP TABLE audit.notices, audit.troubles, audit.notice_runs")
