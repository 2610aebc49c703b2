"""Trusts: whose tokens a tenant takes beside its own, and what they must say.

Revision ID: 0005

A login of an identity provider has no tenant yet. It is looked up by its issuer (`app.issuer`), as a token is by its
hash: one sees the trusts in the provider that one can name.

A login of a provider soon ends, and is exchanged for a token of ours: that has no user, but a trust and a name.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TENANT = "NULLIF((SELECT current_setting('app.tenant', true)), '')::uuid"
ISSUER = "NULLIF((SELECT current_setting('app.issuer', true)), '')"

STATEMENTS = """
CREATE TABLE agent.trusts (
    tenant_id   uuid NOT NULL REFERENCES agent.tenants,
    id          uuid NOT NULL DEFAULT gen_random_uuid(),
    issuer      text NOT NULL,
    audience    text NOT NULL,
    jwks_url    text NOT NULL,
    claims      jsonb NOT NULL CHECK (jsonb_typeof(claims) = 'object' AND claims <> '{}'),
    role        text NOT NULL CHECK (role IN ('reader', 'writer', 'admin')),
    actor_claim text NOT NULL DEFAULT 'sub',
    hours       smallint NOT NULL DEFAULT 1 CHECK (hours BETWEEN 0 AND 12),
    created_at  timestamptz NOT NULL DEFAULT now(),
    created_by  text NOT NULL,
    ended_at    timestamptz,
    PRIMARY KEY (tenant_id, id)
);
COMMENT ON COLUMN agent.trusts.claims IS 'What a token must say: the value of each claim, or a list of which it has one.';
COMMENT ON COLUMN agent.trusts.actor_claim IS 'The claim that says who it is.';
COMMENT ON COLUMN agent.trusts.hours IS 'The longest that a token of ours holds that one of these is exchanged for; 0: none is.';
COMMENT ON COLUMN agent.trusts.ended_at IS 'Since when it is none; a trust is never changed, only ended and made anew.';
CREATE INDEX trusts_issuer ON agent.trusts (issuer) WHERE ended_at IS NULL;

ALTER TABLE agent.api_tokens
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN trust_id uuid,
    ADD COLUMN actor text,
    ADD FOREIGN KEY (tenant_id, trust_id) REFERENCES agent.trusts,
    ADD CONSTRAINT api_tokens_whose CHECK (
        (user_id IS NOT NULL AND trust_id IS NULL AND actor IS NULL)
        OR (user_id IS NULL AND trust_id IS NOT NULL AND actor IS NOT NULL AND expires_at IS NOT NULL)
    );
COMMENT ON COLUMN agent.api_tokens.trust_id IS 'Of a token that a login of an identity provider was exchanged for: by which trust. It ends with it.';
COMMENT ON COLUMN agent.api_tokens.actor IS 'Whose such a token is: the name that the login has too.';
CREATE INDEX api_tokens_exchanged ON agent.api_tokens (tenant_id, expires_at) WHERE trust_id IS NOT NULL;
"""

# every job of a pipeline leaves one: the service takes away those that are long over, and can take away no other
OVER = "trust_id IS NOT NULL AND expires_at < now() - interval '1 day'"


def upgrade() -> None:
    """Make the table, its policies, and what the service may: to read it. Who is trusted is the owner's to say."""
    op.execute(STATEMENTS)
    op.execute("ALTER TABLE agent.trusts ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE agent.trusts FORCE ROW LEVEL SECURITY")
    op.execute(
        f"CREATE POLICY tenant ON agent.trusts USING (tenant_id = {TENANT} OR issuer = {ISSUER})"
        f" WITH CHECK (tenant_id = {TENANT})"
    )
    op.execute("GRANT SELECT ON agent.trusts TO asset_ledger_service")
    op.execute(
        "CREATE POLICY over ON agent.api_tokens AS RESTRICTIVE FOR DELETE TO asset_ledger_service"
        f" USING (tenant_id = {TENANT} AND {OVER})"
    )
    op.execute("GRANT DELETE ON agent.api_tokens TO asset_ledger_service")


def downgrade() -> None:
    """Drop the table, and the tokens without a user: no login of a provider holds then."""
    op.execute("REVOKE DELETE ON agent.api_tokens FROM asset_ledger_service")
    op.execute("DROP POLICY over ON agent.api_tokens")
    # the policy holds its owner too, who has to reach the rows of every tenant
    op.execute("ALTER TABLE agent.api_tokens NO FORCE ROW LEVEL SECURITY")
    op.execute("DELETE FROM agent.api_tokens WHERE user_id IS NULL")
    op.execute("ALTER TABLE agent.api_tokens FORCE ROW LEVEL SECURITY")
    op.execute(
        "ALTER TABLE agent.api_tokens DROP COLUMN trust_id, DROP COLUMN actor, ALTER COLUMN user_id SET NOT NULL"
    )
    op.execute("DROP TABLE agent.trusts")
