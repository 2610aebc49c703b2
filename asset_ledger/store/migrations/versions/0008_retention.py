"""What retention needs to cut a month while others write: what came late, and the exchange of a month in one statement.

Revision ID: 0008

Nothing here is the service's: its role has no right to any of it. `store.agents.retention` says what stays.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

LATE = """
CREATE TABLE audit.late_rows (
    part oid NOT NULL,
    at   timestamptz NOT NULL,
    id   bigint NOT NULL
);
COMMENT ON TABLE audit.late_rows IS 'Rows written to a month (`part`) that retention is copying: they are taken over as they are.';
CREATE INDEX late_rows_part ON audit.late_rows (part);

-- A trigger of the month that is being copied, for as long as that takes. It runs as the owner: who wrote the row need
-- not know of it.
CREATE FUNCTION audit.note_late_row() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO audit.late_rows
        VALUES (TG_RELID, CASE TG_ARGV[0] WHEN 'created_at' THEN OLD.created_at ELSE OLD.collected_at END, OLD.id);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO audit.late_rows
        VALUES (TG_RELID, CASE TG_ARGV[0] WHEN 'created_at' THEN NEW.created_at ELSE NEW.collected_at END, NEW.id);
    END IF;
    RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION audit.note_late_row FROM PUBLIC;
"""

# One statement, so that no message of a client that has stopped is waited for while others wait for the table. The
# caller bounds it with lock_timeout and statement_timeout.
EXCHANGE = """
CREATE FUNCTION audit.exchange_month(parent regclass, moment text, old regclass, fresh regclass, details jsonb)
RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    stays CONSTANT boolean := fresh IS NOT NULL;
    of_old CONSTANT oid := old;
    name text;
    bounds text;
    columns text;
    late bigint;
    names jsonb;
    one record;
BEGIN
    SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) INTO STRICT name, bounds FROM pg_class AS c WHERE c.oid = of_old;
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE', parent);
    -- whoever is at it by itself (autovacuum) is not waited for with the parent in hand
    EXECUTE format('LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE NOWAIT', old);
    IF NOT stays THEN
        IF EXISTS (SELECT FROM audit.late_rows AS l WHERE l.part = of_old) THEN
            RAISE EXCEPTION 'rows came to % that was to go', old USING ERRCODE = 'object_in_use';
        END IF;
        late := 0;
    ELSE
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO columns
        FROM pg_attribute AS a WHERE a.attrelid = fresh AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
        EXECUTE format('DELETE FROM %s AS f USING audit.late_rows AS l WHERE l.part = $1 AND f.%I = l.at AND f.id = l.id',
                       fresh, moment) USING of_old;
        EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM ONLY %s WHERE (%I, id) IN '
                       '(SELECT l.at, l.id FROM audit.late_rows AS l WHERE l.part = $1)',
                       fresh, columns, columns, old, moment) USING of_old;
        GET DIAGNOSTICS late = ROW_COUNT;
        -- an index of the new month has the name of the one that does the same in the old
        SELECT jsonb_object_agg(o.does, o.relname) INTO names FROM audit.indexes_of(old) AS o;
    END IF;
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, old);
    EXECUTE format('DROP TABLE %s', old);
    IF stays THEN
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s %s', parent, fresh, bounds);
        EXECUTE format('ALTER TABLE %s DROP CONSTRAINT in_its_month', fresh);
        EXECUTE format('ALTER TABLE %s RESET (autovacuum_enabled)', fresh);
        EXECUTE format('ALTER TABLE %s RENAME TO %I', fresh, name);
        FOR one IN SELECT i.index, i.relname, names ->> i.does AS wanted FROM audit.indexes_of(fresh) AS i LOOP
            IF one.wanted IS NOT NULL AND one.wanted <> one.relname THEN
                EXECUTE format('ALTER INDEX %s RENAME TO %I', one.index, one.wanted);
            END IF;
        END LOOP;
    END IF;
    DELETE FROM audit.late_rows AS l WHERE l.part = of_old;
    INSERT INTO audit.audit_logs (actor, event_type, event_action, event_result, details)
    VALUES ('retention', 'retention.apply', CASE WHEN stays THEN 'cut' ELSE 'drop' END, 'success',
            details || jsonb_build_object('late', late));
    RETURN late;
END
$$;
COMMENT ON FUNCTION audit.exchange_month IS 'Puts a copy in the place of a month, or drops the month, and returns how many rows came while it was copied.';
REVOKE ALL ON FUNCTION audit.exchange_month FROM PUBLIC;
"""

INDEXES = """
CREATE FUNCTION audit.indexes_of(of_table regclass)
RETURNS TABLE (index regclass, relname name, is_unique boolean, constraint_is text, does text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT i.indexrelid::regclass, c.relname, i.indisunique, pg_get_constraintdef(k.oid),
           i.indisunique || substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*$')
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
    WHERE i.indrelid = of_table
$$;
COMMENT ON FUNCTION audit.indexes_of IS 'The indexes of a table; `does` is the same for two that index the same of two tables.';
REVOKE ALL ON FUNCTION audit.indexes_of FROM PUBLIC;
"""


def upgrade() -> None:
    """Make table, functions and the policy that lets a run of retention look over all tenants."""
    op.execute(LATE)
    op.execute(INDEXES)
    op.execute(EXCHANGE)
    # whether a client has a row in another month: its owner alone, and only while it says so
    op.execute(
        "CREATE POLICY retention ON agent.inventory_history FOR SELECT TO CURRENT_USER"
        " USING ((SELECT current_setting('app.retention', true)) = 'on')"
    )


def downgrade() -> None:
    """Drop what was made. What retention took away stays away."""
    op.execute("DROP POLICY retention ON agent.inventory_history")
    op.execute("DROP FUNCTION audit.exchange_month, audit.indexes_of")
    op.execute("DROP FUNCTION audit.note_late_row CASCADE")
    op.execute("DROP TABLE audit.late_rows")
