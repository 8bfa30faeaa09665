-- The audit: who changed what, from where, with which statement.  Every entry carries digests of those
-- before it.  Nobody updates or deletes here but the code of this extension; an INSERT by somebody else
-- is not refused, since a restore copies the rows in: hypercube.audit_verify() finds it.


CREATE SEQUENCE hypercube.audit_entry_id_seq;


CREATE TABLE hypercube.audit_entry (
    chain bigint NOT NULL,
    id bigint NOT NULL,
    at timestamptz NOT NULL,
    transaction bigint NOT NULL,
    session_role text NOT NULL,
    role text NOT NULL,
    client_addr text,
    client_port integer,
    pid integer NOT NULL,
    application text,
    operation text NOT NULL,
    kind text NOT NULL,
    objects jsonb,
    rows bigint,
    by_hand boolean NOT NULL,
    old jsonb,
    new jsonb,
    detail jsonb,
    statement text,
    statement_length integer,
    statement_digest bytea,
    outcome text NOT NULL,
    sqlstate text,
    message text,
    attempt uuid,
    covers bigint[] NOT NULL,
    covered_chains bigint[] NOT NULL,
    covered_digests bytea NOT NULL,
    digest bytea NOT NULL,
    call text,
    CONSTRAINT audit_entry_pkey PRIMARY KEY (chain, id)
);

CREATE INDEX audit_entry_at_index ON hypercube.audit_entry (at);
CREATE INDEX audit_entry_attempt_index ON hypercube.audit_entry (attempt) WHERE attempt IS NOT NULL;
-- When the chain was last verified, and how it came out, is looked up with every metrics().
CREATE INDEX audit_entry_verified_index ON hypercube.audit_entry (at) WHERE operation = 'verify' AND kind = 'audit';

COMMENT ON TABLE hypercube.audit_entry
    IS 'what was done, one row for each statement or call; every row carries the digests of those before it';
COMMENT ON COLUMN hypercube.audit_entry.chain
    IS 'which database the row was written in; a restored one begins a chain of its own';
COMMENT ON COLUMN hypercube.audit_entry.objects
    IS 'keys of the first 100 rows';
COMMENT ON COLUMN hypercube.audit_entry.by_hand
    IS 'whether somebody changed rows without a function of this extension; a restore counts as such';
COMMENT ON COLUMN hypercube.audit_entry.covers
    IS 'entries that nothing covered before, by their ids; covered_chains and covered_digests belong to them';
COMMENT ON COLUMN hypercube.audit_entry.digest
    IS 'BLAKE3 of all other columns';
COMMENT ON COLUMN hypercube.audit_entry.call
    IS 'id of the call that did it; null in entries of before calls had ids, whose digest is without';


CREATE TABLE hypercube.audit_tip (
    chain bigint NOT NULL,
    id bigint NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT audit_tip_pkey PRIMARY KEY (chain, id)
);

COMMENT ON TABLE hypercube.audit_tip
    IS 'the entries of the audit that no other covers yet';


CREATE TABLE hypercube.audit_segment (
    chain bigint NOT NULL,
    number integer NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    entries bigint NOT NULL,
    digest bytea NOT NULL,
    sealed_at timestamptz NOT NULL,
    dropped_at timestamptz,
    CONSTRAINT audit_segment_pkey PRIMARY KEY (chain, number)
);

COMMENT ON TABLE hypercube.audit_segment
    IS 'stretches of the audit that are closed, and whether their entries are gone';
COMMENT ON COLUMN hypercube.audit_segment.digest
    IS 'that of the entry that sealed it';


-- About a file of this server: a dump does not take it along.
CREATE TABLE hypercube.audit_collection (
    one boolean NOT NULL DEFAULT true,
    generation text,
    taken bigint NOT NULL DEFAULT 0,
    undescribed bigint NOT NULL DEFAULT 0,
    transaction bigint,
    CONSTRAINT audit_collection_pkey PRIMARY KEY (one),
    CONSTRAINT audit_collection_one CHECK (one)
);

INSERT INTO hypercube.audit_collection DEFAULT VALUES;

COMMENT ON TABLE hypercube.audit_collection
    IS 'how far the file of failed calls has been taken into the audit';


-- The sequence begins anew with a chain: a restore must not set it back below what it wrote itself.
SELECT pg_catalog.pg_extension_config_dump('hypercube.audit_entry', '');
SELECT pg_catalog.pg_extension_config_dump('hypercube.audit_tip', '');
SELECT pg_catalog.pg_extension_config_dump('hypercube.audit_segment', '');


ALTER TABLE hypercube.audit_entry ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE hypercube.audit_tip ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE hypercube.audit_segment ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE hypercube.audit_collection ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY auditor ON hypercube.audit_entry FOR SELECT TO hypercube_auditor USING (true);
CREATE POLICY auditor ON hypercube.audit_tip FOR SELECT TO hypercube_auditor USING (true);
CREATE POLICY auditor ON hypercube.audit_segment FOR SELECT TO hypercube_auditor USING (true);
CREATE POLICY auditor ON hypercube.audit_collection FOR SELECT TO hypercube_auditor USING (true);
-- Who drops segments has to see which there are.
CREATE POLICY admin ON hypercube.audit_segment FOR SELECT TO hypercube_admin USING (true);


-- One expression, so that it becomes a part of the statement; six columns are the longest key there is.
CREATE FUNCTION hypercube._audited_key(held jsonb, keys text[])
    RETURNS text
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN concat_ws('/', held ->> keys[1], held ->> keys[2], held ->> keys[3], held ->> keys[4], held ->> keys[5], held ->> keys[6]);


-- Bulky columns as the SHA-256 of their text, and of the report of an ingest what it counted.
CREATE FUNCTION hypercube._audited_row(held jsonb, bulk text[], noise text[])
    RETURNS jsonb
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN (held - bulk - noise) #- '{report,seconds}' #- '{report,notes}' || coalesce((
    SELECT jsonb_object_agg(c.key, encode(sha256(convert_to(c.value, 'UTF8')), 'hex'))
    FROM jsonb_each_text(held) AS c
    WHERE c.key = ANY (bulk) AND c.value IS NOT NULL
), '{}');


CREATE FUNCTION hypercube._audit_head()
    RETURNS trigger
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    -- Whatever the session says, one row is told in one way.
    SET bytea_output = hex
    SET timezone = 'UTC'
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_head(TD)
$python$;


CREATE FUNCTION hypercube._audit_bulk()
    RETURNS trigger
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    -- Whatever the session says, one row is told in one way.
    SET bytea_output = hex
    SET timezone = 'UTC'
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_bulk(TD)
$python$;


CREATE FUNCTION hypercube._keep_audit()
    RETURNS trigger
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.keep_audit(TD)
$python$;


CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON hypercube.audit_entry FOR EACH STATEMENT EXECUTE FUNCTION hypercube._keep_audit();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON hypercube.audit_tip FOR EACH STATEMENT EXECUTE FUNCTION hypercube._keep_audit();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON hypercube.audit_segment FOR EACH STATEMENT EXECUTE FUNCTION hypercube._keep_audit();
CREATE TRIGGER keep BEFORE UPDATE OR DELETE OR TRUNCATE ON hypercube.audit_collection FOR EACH STATEMENT EXECUTE FUNCTION hypercube._keep_audit();
-- Also where session_replication_role = replica.
ALTER TABLE hypercube.audit_entry ENABLE ALWAYS TRIGGER keep;
ALTER TABLE hypercube.audit_tip ENABLE ALWAYS TRIGGER keep;
ALTER TABLE hypercube.audit_segment ENABLE ALWAYS TRIGGER keep;
ALTER TABLE hypercube.audit_collection ENABLE ALWAYS TRIGGER keep;


CREATE VIEW hypercube.audit_log
    WITH (security_invoker = true)
AS
SELECT
    e.chain,
    e.id,
    e.at,
    e.session_role,
    e.role,
    e.client_addr,
    e.client_port,
    e.pid,
    e.application,
    e.operation,
    e.kind,
    e.objects,
    e.rows,
    e.by_hand,
    e.outcome,
    e.sqlstate,
    e.message,
    e.old,
    e.new,
    e.detail,
    e.statement,
    e.statement_length,
    encode(e.statement_digest, 'hex') AS statement_digest,
    e.transaction,
    encode(e.digest, 'hex') AS digest,
    e.call
FROM hypercube.audit_entry AS e;

COMMENT ON VIEW hypercube.audit_log
    IS 'who did what, when, from where, with which statement';
COMMENT ON COLUMN hypercube.audit_log.chain
    IS 'number of the chain: one for each database, another after a restore';
COMMENT ON COLUMN hypercube.audit_log.id
    IS 'place in the chain; numbers of what was rolled back are missing';
COMMENT ON COLUMN hypercube.audit_log.at
    IS 'when it was done, by the clock';
COMMENT ON COLUMN hypercube.audit_log.session_role
    IS 'who logged in';
COMMENT ON COLUMN hypercube.audit_log.role
    IS 'whose rights it was done with';
COMMENT ON COLUMN hypercube.audit_log.client_addr
    IS 'address of the client; null over a socket of the machine';
COMMENT ON COLUMN hypercube.audit_log.client_port
    IS 'port of the client';
COMMENT ON COLUMN hypercube.audit_log.pid
    IS 'process of the server';
COMMENT ON COLUMN hypercube.audit_log.application
    IS 'application_name of the session';
COMMENT ON COLUMN hypercube.audit_log.operation
    IS 'insert, update, delete, truncate, or what was done that changes no row; call for one that failed';
COMMENT ON COLUMN hypercube.audit_log.kind
    IS 'the table, or the kind of thing it was done to';
COMMENT ON COLUMN hypercube.audit_log.objects
    IS 'names or keys, the first 100';
COMMENT ON COLUMN hypercube.audit_log.rows
    IS 'how many rows the statement changed; null where that is not known';
COMMENT ON COLUMN hypercube.audit_log.by_hand
    IS 'whether rows were changed without a function of this extension';
COMMENT ON COLUMN hypercube.audit_log.outcome
    IS 'done; refused, of a call that failed; begun, of an export before its first file is written';
COMMENT ON COLUMN hypercube.audit_log.sqlstate
    IS 'code of the refusal';
COMMENT ON COLUMN hypercube.audit_log.message
    IS 'its text, the first 500 characters';
COMMENT ON COLUMN hypercube.audit_log.old
    IS 'the first 100 rows as they were, bulky columns as the SHA-256 of their text';
COMMENT ON COLUMN hypercube.audit_log.new
    IS 'the same rows as they are';
COMMENT ON COLUMN hypercube.audit_log.detail
    IS 'what else there is to tell: counts, digests, arguments of a call that failed';
COMMENT ON COLUMN hypercube.audit_log.statement
    IS 'what the client sent, the first 1,000 characters';
COMMENT ON COLUMN hypercube.audit_log.statement_length
    IS 'how many characters it had';
COMMENT ON COLUMN hypercube.audit_log.statement_digest
    IS 'BLAKE3 of all of it, in UTF-8';
COMMENT ON COLUMN hypercube.audit_log.transaction
    IS 'number of the transaction that wrote the row';
COMMENT ON COLUMN hypercube.audit_log.digest
    IS 'BLAKE3 of the row and of the digests of those that it covers';
COMMENT ON COLUMN hypercube.audit_log.call
    IS 'id of the call, as in the log of the server; the client can give it in hypercube.call_id';


CREATE FUNCTION hypercube.audit_collect()
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_collect()
$python$;

COMMENT ON FUNCTION hypercube.audit_collect()
    IS 'takes calls that failed into the audit, at most 1,000, and returns how many';


CREATE FUNCTION hypercube.audit_verify(checkpoint bytea DEFAULT NULL)
    RETURNS TABLE (ok boolean, entries bigint, first_bad bigint, problem text)
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_verify(checkpoint)
$python$;

COMMENT ON FUNCTION hypercube.audit_verify(bytea)
    IS 'follows the whole audit and names the first entry that was changed, removed, inserted or reordered; with the digest of a checkpoint also an end that was cut off';


CREATE FUNCTION hypercube.audit_checkpoint()
    RETURNS TABLE (chain bigint, id bigint, digest bytea, at timestamptz)
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_checkpoint()
$python$;

COMMENT ON FUNCTION hypercube.audit_checkpoint()
    IS 'writes an entry that covers all others and returns its digest, to be kept outside of the database';


CREATE FUNCTION hypercube.audit_seal()
    RETURNS TABLE (number integer, first_id bigint, last_id bigint, entries bigint, digest bytea, sealed_at timestamptz)
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_seal()
$python$;

COMMENT ON FUNCTION hypercube.audit_seal()
    IS 'closes the entries that there are as a segment, which can be dropped when it is old';


CREATE FUNCTION hypercube.audit_drop_segment(number integer, older_than interval DEFAULT '90 days', of_chain bigint DEFAULT NULL)
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.audit_drop_segment(number, older_than, of_chain)
$python$;

COMMENT ON FUNCTION hypercube.audit_drop_segment(integer, interval, bigint)
    IS 'removes the entries of a segment that was sealed long enough ago and returns how many; the audit is still whole';


CREATE FUNCTION hypercube._begin_audit()
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import audit_api
return audit_api.begin_audit()
$python$;

SELECT hypercube._begin_audit();


-- Who watches need not be able to ask a model anything.
GRANT USAGE ON SCHEMA hypercube TO hypercube_auditor, hypercube_admin;
GRANT EXECUTE ON FUNCTION hypercube._as_owner(), hypercube._read_as_owner() TO hypercube_auditor, hypercube_admin;
GRANT SELECT ON hypercube.audit_log, hypercube.audit_entry, hypercube.audit_tip, hypercube.audit_segment, hypercube.audit_collection TO hypercube_auditor;
GRANT SELECT ON hypercube.audit_segment TO hypercube_admin;
GRANT EXECUTE ON FUNCTION hypercube.audit_verify(bytea), hypercube.audit_checkpoint() TO hypercube_auditor;
GRANT EXECUTE ON FUNCTION hypercube.audit_collect(), hypercube.audit_seal() TO hypercube_auditor, hypercube_admin;
GRANT EXECUTE ON FUNCTION hypercube.audit_drop_segment(integer, interval, bigint) TO hypercube_admin;
