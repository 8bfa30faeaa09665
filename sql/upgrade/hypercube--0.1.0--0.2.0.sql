\echo Use "ALTER EXTENSION hypercube UPDATE TO '0.2.0'" to load this file. \quit

-- As in the install script: what somebody planted in the schema of cube is not taken into functions and views.
SET LOCAL search_path = pg_catalog, pg_temp;

SELECT pg_catalog.set_config('hypercube.with_cube', pg_catalog.format('pg_catalog, %I, pg_temp', n.nspname), true)
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'cube';


-- The functions of this version call a package that is no older; a session that has loaded another one keeps it.
DO LANGUAGE plpython3u $python$
import hypercube

if [int(part) for part in hypercube.__version__.split(".")] < [0, 2, 0]:
    plpy.error(
        "this session has the Python package hypercube " + hypercube.__version__ + ", the update needs 0.2.0",
        sqlstate="55000",
        hint="Run make install in the folder of hypercube 0.2.0, connect again and update then.",
    )
$python$;


-- Who watches over the server.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_catalog.pg_roles
        WHERE rolname = 'hypercube_monitor'
          AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication)
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'a role "hypercube_monitor" exists already and may do more than such a role should',
            HINT = 'ALTER ROLE ... NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION, or rename it.';
    END IF;
    IF pg_catalog.to_regrole('hypercube_monitor') IS NULL THEN
        CREATE ROLE hypercube_monitor NOLOGIN;
    END IF;
END
$$;


-- For functions that write and are not Python: refused as the others are, before anything is computed.
CREATE FUNCTION hypercube._require_writable()
    RETURNS void
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.require_writable()
$python$;


CREATE TABLE hypercube.expectation (
    model_id integer NOT NULL,
    kind text NOT NULL,
    ordinal integer NOT NULL,
    question text[],
    inputs integer[],
    answers integer[],
    scores real[],
    digest bytea,
    CONSTRAINT expectation_pkey PRIMARY KEY (model_id, kind, ordinal),
    CONSTRAINT expectation_model_fkey FOREIGN KEY (model_id) REFERENCES hypercube.model (id)
);

COMMENT ON TABLE hypercube.expectation
    IS 'questions to each model with the answers they had when it was stored, computed in another way than questions are; health() asks them again';
COMMENT ON COLUMN hypercube.expectation.kind
    IS 'neighbors, nearest, analogy, map, tokenize or embed for a question; tensors, tokens, relations, points or files for a digest of rows; consensus for the models that maintain() last computed relation_consensus from';
COMMENT ON COLUMN hypercube.expectation.question
    IS 'the words or the text that is asked for';
COMMENT ON COLUMN hypercube.expectation.inputs
    IS 'the tokens that the words are';
COMMENT ON COLUMN hypercube.expectation.answers
    IS 'token ids, best first';
COMMENT ON COLUMN hypercube.expectation.scores
    IS 'of the answers; of embed the vector';
COMMENT ON COLUMN hypercube.expectation.digest
    IS 'SHA-256 over all rows of the kind, in an order or as sums that no order changes';


SELECT pg_catalog.pg_extension_config_dump('hypercube.expectation', '');


-- Who publishes all tables would else keep everybody from changing those that have no key.
ALTER TABLE hypercube.writer_turn REPLICA IDENTITY FULL;
ALTER TABLE hypercube.reader_change REPLICA IDENTITY FULL;


CREATE OR REPLACE VIEW hypercube.progress
    WITH (security_invoker = true)
AS
SELECT
    a.pid,
    a.usename AS role,
    said.part[1] AS operation,
    said.part[5] AS stage,
    said.part[3]::integer AS percent,
    make_interval(secs => said.part[4]::integer) AS remaining,
    a.query_start AS started_at,
    a.query,
    said.part[2] AS call
FROM pg_stat_activity AS a,
     regexp_match(a.application_name, '^hypercube (\w+) ([0-9A-Za-z_-]{1,32}) (\d{1,3})% (\d{1,7})s (\w+)$') AS said (part)
WHERE a.state = 'active'
  AND said.part IS NOT NULL;

COMMENT ON COLUMN hypercube.progress.call
    IS 'id of the call, or its beginning where the client gave a long one';


-- The first rule of _find_token by itself: a word that is spelled just as a label
-- of a word.  Most are, and the statement that calls it takes this in as its part.
CREATE OR REPLACE FUNCTION hypercube._same_word(model_id integer, query text)
    RETURNS TABLE (token_id integer)
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    -- Of labels there are no statistics: with a condition on the kind in there, whoever is under row-level security
    -- would read the index of all words.
    SELECT first.token_id
    FROM (
        SELECT t.token_id, t.kind
        FROM hypercube.token AS t
        WHERE t.model_id = _same_word.model_id
          AND t.label = _same_word.query
          AND _same_word.query = ltrim(btrim(_same_word.query), '▁Ġ')
        ORDER BY t.kind <> 'word', t.usable DESC, t.token_id
        LIMIT 1
    ) AS first
    WHERE first.kind = 'word';
END;


-- Word-initial tokens come first, exact case before lower case, then later
-- parts of words.  A marker that tokenizers put in front of a word is ignored.
-- PL/pgSQL keeps the plan for the session; a function in SQL, called from
-- another one, would be planned at every call.
CREATE OR REPLACE FUNCTION hypercube._find_token(model_id integer, query text)
    RETURNS integer
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    word text := coalesce(nullif(ltrim(btrim(query), '▁Ġ'), ''), query);
    token integer;
BEGIN
    -- What most words are, by itself.
    SELECT same.token_id INTO token FROM hypercube._same_word(_find_token.model_id, word) AS same;
    IF FOUND THEN
        RETURN token;
    END IF;
    -- A join, as the plan of "= ANY (four spellings)" would be made anew at every call.
    RETURN (
        SELECT t.token_id
        FROM unnest(ARRAY[word, lower(word), '##' || word, '##' || lower(word)]) AS spelled (label)
        JOIN hypercube.token AS t ON t.model_id = _find_token.model_id AND t.label = spelled.label
        ORDER BY
            CASE
                WHEN t.kind = 'word' AND t.label = lower(word) THEN 0
                WHEN t.label = word THEN 1
                WHEN t.label = '##' || word THEN 2
                ELSE 3
            END,
            t.usable DESC,
            t.token_id
        LIMIT 1
    );
END
$$;


CREATE OR REPLACE FUNCTION hypercube.refresh_consensus()
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.refresh_consensus()
$python$;

COMMENT ON FUNCTION hypercube.refresh_consensus()
    IS 'computes relation_consensus anew from the models that there are, returns its rows';


SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('hypercube.with_cube'), true);

-- A point as a number that tells it from others, and that sums of are the same in any order.
CREATE FUNCTION hypercube._point_number(point cube)
    RETURNS bigint
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN cube_dim(_point_number.point)
    -- What is no place on a map, NaN included, counts as its edge.
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 1))) * '1e12'::double precision)::bigint
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 2))) * '3e12'::double precision)::bigint
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 3))) * '7e12'::double precision)::bigint
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 4))) * '13e12'::double precision)::bigint;

SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);


CREATE OR REPLACE FUNCTION hypercube.ingest_texts_from(
        source refcursor, model text DEFAULT NULL,
        language text DEFAULT NULL, replace boolean DEFAULT false, vectors boolean DEFAULT true)
    RETURNS SETOF hypercube.text_report
    ROWS 100
    LANGUAGE plpgsql
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := '{}';
    contents text[] := '{}';
    metadata jsonb[] := '{}';
    name text;
    content text;
    told jsonb;
    pending bigint := 0;
    more boolean := true;
BEGIN
    PERFORM hypercube._require_writable();
    WHILE more LOOP
        FETCH source INTO name, content, told;
        more := FOUND;
        IF more THEN
            names := array_append(names, name);
            contents := array_append(contents, content);
            metadata := array_append(metadata, told);
            pending := pending + octet_length(content);
        END IF;
        -- In parts of a few megabytes, so that the memory does not grow with the query.
        IF cardinality(names) > 0 AND (NOT more OR cardinality(names) = 1000 OR pending > 4000000) THEN
            RETURN QUERY
            SELECT r.* FROM hypercube.ingest_texts(names, contents, model, metadata, language, replace, vectors) AS r;
            names := '{}';
            contents := '{}';
            metadata := '{}';
            pending := 0;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION hypercube.ingest_texts_from(refcursor, text, text, boolean, boolean)
    IS 'stores texts from an open cursor over name, content and metadata: from any query or table, whose rows are read in parts';


-- Of all rows that an ingest wrote about a model and its tokens, so that a change of any of them is seen.  Sums,
-- where there are many: they need no order, and one row that is changed, lost or added changes one of them.
CREATE FUNCTION hypercube._fingerprints(model_id integer)
    RETURNS TABLE (kind text, digest bytea)
    ROWS 5
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT 'tokens', sha256(convert_to(coalesce(string_agg(
        concat_ws(E'\x1f', t.token_id, t.kind::text, t.usable, coalesce(t.piece, E'\x1e'), coalesce(t.label, E'\x1e'),
            encode(t.composition_id, 'base64')),
        E'\n' ORDER BY t.token_id), ''), 'UTF8'))
    FROM hypercube.token AS t
    WHERE t.model_id = _fingerprints.model_id

    UNION ALL
    SELECT 'relations', sha256(convert_to(concat_ws(' ', count(*),
        sum((r.source::bigint * 1000003 + r.target) * r.rank),
        -- Cosines by 2^32, which holds all digits that they have.
        sum((greatest(-2::double precision, least(2::double precision, r.weight::double precision)) * 4294967296)::bigint
            * (r.source % 1009 + r.rank))
    ), 'UTF8'))
    FROM hypercube.relation AS r
    WHERE r.model_id = _fingerprints.model_id AND r.kind IN ('E', 'M')

    UNION ALL
    SELECT 'points', sha256(convert_to(concat_ws(' ', count(*),
        sum(hypercube._point_number(p.point)), sum(hypercube._point_number(p.point) % 1048576 * p.token_id),
        sum(('x' || encode(substring(p.hilbert FROM 1 FOR 8), 'hex'))::bit(64)::bigint),
        sum(('x' || encode(substring(p.hilbert FROM 9), 'hex'))::bit(64)::bigint)
    ), 'UTF8'))
    FROM hypercube.projection AS p
    WHERE p.model_id = _fingerprints.model_id

    UNION ALL
    SELECT 'tensors', sha256(convert_to(coalesce(string_agg(t.told, E'\n' ORDER BY t.name COLLATE "C"), ''), 'UTF8'))
    FROM (
        SELECT t.name, concat_ws(E'\x1f', t.name, encode(t.digest, 'base64'), t.stored, t.bytes, count(piece.ordinal), sum(c.size)) AS told
        FROM hypercube.tensor AS t
        LEFT JOIN hypercube.tensor_chunk AS piece ON piece.tensor_digest = t.digest AND t.stored
        LEFT JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest
        WHERE t.model_id = _fingerprints.model_id
        GROUP BY t.name, t.digest, t.stored, t.bytes
    ) AS t

    UNION ALL
    -- Whether their contents have these digests is asked where bytes are.
    SELECT 'files', sha256(convert_to(coalesce(string_agg(
        concat_ws(E'\x1f', f.path, encode(f.digest, 'base64')), E'\n' ORDER BY f.path COLLATE "C"), ''), 'UTF8'))
    FROM hypercube.model_file AS f
    WHERE f.model_id = _fingerprints.model_id;
END;


-- Which backups were made and verified.  About the files of this cluster: a dump does not take it along, or a
-- database that was copied would claim backups that it does not have.


CREATE TABLE hypercube.backup_record (
    label text NOT NULL,
    kind text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    bytes bigint NOT NULL,
    recorded_by name NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT backup_record_pkey PRIMARY KEY (kind, finished_at, label),
    CONSTRAINT backup_record_kind CHECK (kind IN ('full', 'diff', 'incr', 'verify')),
    CONSTRAINT backup_record_label CHECK (label ~ '^[[:graph:]]{1,200}$'),
    CONSTRAINT backup_record_times CHECK (finished_at >= started_at),
    CONSTRAINT backup_record_bytes CHECK (bytes >= 0)
);

COMMENT ON TABLE hypercube.backup_record
    IS 'backups that were made and verified; record_backup writes it';
COMMENT ON COLUMN hypercube.backup_record.label
    IS 'what the program that makes backups calls it';
COMMENT ON COLUMN hypercube.backup_record.kind
    IS 'full, diff, incr, or verify: that it was restored and looked at';
COMMENT ON COLUMN hypercube.backup_record.bytes
    IS 'how large it is, of verify how much was restored';


ALTER TABLE hypercube.backup_record ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.backup_record FORCE ROW LEVEL SECURITY;
CREATE POLICY backup_record_admin ON hypercube.backup_record FOR SELECT TO hypercube_admin, hypercube_monitor USING (true);


CREATE FUNCTION hypercube.record_backup(
    label text,
    kind text,
    started_at timestamptz,
    finished_at timestamptz,
    bytes bigint
)
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.record_backup(label, kind, started_at, finished_at, bytes)
$python$;

COMMENT ON FUNCTION hypercube.record_backup(text, text, timestamptz, timestamptz, bigint)
    IS 'writes down that a backup was made or verified; for members of hypercube_admin and superusers';


ALTER TABLE hypercube.audit_entry ADD COLUMN call text;

-- When the chain was last verified, and how it came out, is looked up with every metrics().
CREATE INDEX audit_entry_verified_index ON hypercube.audit_entry (at) WHERE operation = 'verify' AND kind = 'audit';

COMMENT ON COLUMN hypercube.audit_entry.call
    IS 'id of the call that did it; null in entries of before calls had ids, whose digest is without';


CREATE OR REPLACE VIEW hypercube.audit_log
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

COMMENT ON COLUMN hypercube.audit_log.call
    IS 'id of the call, as in the log of the server; the client can give it in hypercube.call_id';


CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.backup_record REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.backup_record REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.backup_record REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.backup_record FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.backup_record ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.expectation REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.expectation REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.expectation REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.expectation FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.expectation ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;


ALTER TABLE hypercube.expectation ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.expectation FORCE ROW LEVEL SECURITY;
-- What the consensus was made from names models that not everybody sees.
CREATE POLICY expectation_visible ON hypercube.expectation FOR SELECT
    USING (kind <> 'consensus' AND EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = expectation.model_id));
CREATE POLICY expectation_admin ON hypercube.expectation FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.expectation
    ALTER kind SET STATISTICS 0, ALTER ordinal SET STATISTICS 0, ALTER question SET STATISTICS 0,
    ALTER inputs SET STATISTICS 0, ALTER answers SET STATISTICS 0, ALTER scores SET STATISTICS 0,
    ALTER digest SET STATISTICS 0;

ALTER TABLE hypercube.backup_record
    ALTER label SET STATISTICS 0, ALTER kind SET STATISTICS 0, ALTER started_at SET STATISTICS 0,
    ALTER finished_at SET STATISTICS 0, ALTER bytes SET STATISTICS 0, ALTER recorded_by SET STATISTICS 0,
    ALTER recorded_at SET STATISTICS 0;


DROP FUNCTION hypercube.health();
DROP FUNCTION hypercube._bytes_health();
DROP FUNCTION hypercube._matrix_health();


CREATE OR REPLACE FUNCTION hypercube._environment_health()
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.environment_health()
$python$;


CREATE FUNCTION hypercube._version_health()
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 1
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.version_health()
$python$;


-- One part of one model, so that what is damaged in one keeps no other from being checked.
CREATE FUNCTION hypercube._model_health(name text, part text)
    RETURNS TABLE (ok boolean, detail text)
    ROWS 1
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.model_health(name, part)
$python$;


-- What is about the server and about what nobody sees but an admin.
CREATE FUNCTION hypercube._server_health()
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 10
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT e."check", e.ok, e.detail FROM hypercube._environment_health() AS e

    UNION ALL
    SELECT
        'indexes',
        count(*) FILTER (WHERE NOT (i.indisvalid AND i.indisready)) = 0,
        format('%s indexes, invalid: %s', count(*),
               coalesce(string_agg(i.indexrelid::regclass::text, ', ') FILTER (WHERE NOT (i.indisvalid AND i.indisready)), 'none'))
    FROM pg_index AS i
    JOIN pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = 'hypercube'::regnamespace

    UNION ALL
    SELECT
        'audit',
        bool_and(w.triggers = w.wanted),
        format('%s tables, not watched whatever a session sets: %s', count(*),
               coalesce(string_agg(w.relname, ', ' ORDER BY w.relname) FILTER (WHERE w.triggers <> w.wanted), 'none'))
    FROM (
        SELECT
            c.relname,
            -- Four events in a trigger each; one keeps the tables of the audit itself.
            CASE WHEN c.relname LIKE 'audit\_%' THEN 1 ELSE 4 END AS wanted,
            count(t.oid) FILTER (WHERE t.tgenabled = 'A') AS triggers
        FROM pg_class AS c
        LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND (t.tgname LIKE 'audit\_%' OR t.tgname = 'keep')
        WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind = 'r'
          AND c.relname <> 'index_recall' AND c.relname NOT LIKE 'vector\_of\_%'
        GROUP BY c.relname
    ) AS w

    UNION ALL
    SELECT 'owners', count(*) = 0,
        coalesce('no role of the name is there, so admins alone see what is theirs: ' || string_agg(o.owner, ', ' ORDER BY o.owner),
                 'every owner is a role')
    FROM (
        SELECT m.owner FROM hypercube.model AS m
        UNION SELECT d.owner FROM hypercube.document AS d
        UNION SELECT k.owner FROM hypercube.kept_composition AS k
    ) AS o
    WHERE to_regrole(quote_ident(o.owner)) IS NULL;
END;


CREATE FUNCTION hypercube._vectors_health()
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT 'vectors of sentences', bool_and(v.wrong = 0) IS NOT FALSE,
        coalesce(string_agg(format('%s: %s, of another length: %s', v.name, v.total, v.wrong), ', ' ORDER BY v.name), 'none')
    FROM (
        SELECT
            m.name,
            count(*) AS total,
            count(*) FILTER (WHERE octet_length(x.vector) <> 4 * usual.numbers) AS wrong
        FROM hypercube.model AS m
        JOIN hypercube.sentence_vector AS x ON x.model_id = m.id
        JOIN (
            SELECT o.model_id, mode() WITHIN GROUP (ORDER BY octet_length(o.vector)) / 4 AS numbers
            FROM hypercube.sentence_vector AS o
            GROUP BY o.model_id
        ) AS usual ON usual.model_id = m.id
        GROUP BY m.name
    ) AS v;
END;


CREATE FUNCTION hypercube._orphans_health()
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT 'orphans', count(o.kind) = 0, coalesce(string_agg(o.kind, ', '), 'every row belongs to a model that exists')
    FROM (
        SELECT 'relations' AS kind WHERE EXISTS (
            WITH RECURSIVE held AS (
                (SELECT r.model_id FROM hypercube.relation AS r ORDER BY r.model_id LIMIT 1)
                UNION ALL
                SELECT next.model_id
                FROM held
                CROSS JOIN LATERAL (
                    SELECT r.model_id FROM hypercube.relation AS r
                    WHERE r.model_id > held.model_id ORDER BY r.model_id LIMIT 1
                ) AS next
            )
            SELECT FROM held WHERE held.model_id NOT IN (SELECT m.id FROM hypercube.model AS m))
        UNION ALL
        SELECT 'tokens' WHERE EXISTS (
            SELECT FROM hypercube.token AS t WHERE t.model_id NOT IN (SELECT m.id FROM hypercube.model AS m))
        UNION ALL
        SELECT 'points' WHERE EXISTS (
            SELECT FROM hypercube.projection AS p WHERE p.model_id NOT IN (SELECT m.id FROM hypercube.model AS m))
        UNION ALL
        SELECT 'tensor chunks' WHERE EXISTS (
            SELECT FROM hypercube.tensor_chunk AS c
            WHERE NOT EXISTS (SELECT FROM hypercube.tensor AS t WHERE t.digest = c.tensor_digest))
        UNION ALL
        SELECT 'chunks' WHERE EXISTS (
            SELECT FROM hypercube.chunk AS c
            WHERE NOT EXISTS (SELECT FROM hypercube.tensor_chunk AS p WHERE p.chunk_digest = c.digest))
        UNION ALL
        SELECT 'tensors without their chunks' WHERE EXISTS (
            SELECT FROM hypercube.tensor_chunk AS p
            WHERE NOT EXISTS (SELECT FROM hypercube.chunk AS c WHERE c.digest = p.chunk_digest))
        UNION ALL
        SELECT 'compositions of tokens' WHERE EXISTS (
            SELECT FROM hypercube.token AS t
            WHERE t.composition_id IS NOT NULL
              AND NOT EXISTS (SELECT FROM hypercube.composition AS c WHERE c.id = t.composition_id))
        UNION ALL
        SELECT 'sentences' WHERE EXISTS (
            SELECT FROM hypercube.sentence AS s
            WHERE s.document_id NOT IN (SELECT d.id FROM hypercube.document AS d)
               OR NOT EXISTS (SELECT FROM hypercube.composition AS c WHERE c.id = s.composition_id))
        UNION ALL
        SELECT 'compositions of documents' WHERE EXISTS (
            SELECT FROM hypercube.document AS d
            WHERE NOT EXISTS (SELECT FROM hypercube.composition AS c WHERE c.id = d.composition_id))
        UNION ALL
        SELECT 'holders of compositions' WHERE EXISTS (
            SELECT FROM hypercube.holder AS h
            WHERE h.model_id IS NOT NULL AND h.model_id NOT IN (SELECT m.id FROM hypercube.model AS m)
               OR h.document_id IS NOT NULL AND h.document_id NOT IN (SELECT d.id FROM hypercube.document AS d))
            OR EXISTS (
            SELECT FROM hypercube.holding AS h WHERE h.holder_id NOT IN (SELECT o.id FROM hypercube.holder AS o))
        UNION ALL
        SELECT 'compositions that nothing holds' WHERE EXISTS (
            SELECT FROM hypercube.composition AS c
            WHERE NOT EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = c.id))
        UNION ALL
        SELECT 'words, tokens or vectors of sentences' WHERE EXISTS (
            SELECT FROM hypercube.sentence_search AS x
            WHERE NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = x.composition_id)
            UNION ALL
            SELECT FROM hypercube.sentence_token AS x
            WHERE NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = x.composition_id)
            UNION ALL
            SELECT FROM hypercube.sentence_vector AS x
            WHERE NOT EXISTS (SELECT FROM hypercube.sentence AS s WHERE s.composition_id = x.composition_id))
    ) AS o;
END;


CREATE FUNCTION hypercube._documents_health()
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 2
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT 'documents', bool_and(x.ok) IS NOT FALSE, format('%s documents, %s sentences, a sample of %s rebuilt',
        (SELECT count(*) FROM hypercube.document), (SELECT coalesce(sum(s.sentences), 0) FROM hypercube.document AS s), count(x.ok))
        || coalesce(', damaged: ' || string_agg(x.name, ', ' ORDER BY x.name) FILTER (WHERE NOT x.ok), '')
    FROM (
        SELECT d.name, hypercube._document_is_whole(d.name) AS ok
        FROM (SELECT name FROM hypercube.document ORDER BY digest LIMIT 20) AS d
    ) AS x

    UNION ALL
    SELECT 'languages', count(*) FILTER (WHERE NOT l.known) = 0,
        coalesce('not there, so their documents are not found by words: ' || string_agg(l.language, ', ') FILTER (WHERE NOT l.known),
                 format('%s text search configurations of documents', count(*)))
    FROM (
        SELECT d.language, hypercube._config(d.language) IS NOT NULL AS known
        FROM hypercube.document AS d
        GROUP BY d.language
    ) AS l;
END;


CREATE FUNCTION hypercube.health(quick boolean DEFAULT false)
    RETURNS TABLE ("check" text, ok boolean, detail text)
    ROWS 20
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen text;
    part text;
    problem text;
BEGIN
    IF quick IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'quick must not be null',
            HINT = 'Give true or false.';
    END IF;
    FOR "check", ok, detail IN SELECT v."check", v.ok, v.detail FROM hypercube._version_health() AS v LOOP
        RETURN NEXT;
        -- Everything else would be refused.
        IF NOT ok THEN
            RETURN;
        END IF;
    END LOOP;
    PERFORM hypercube._charge();

    RETURN QUERY
    SELECT 'models', true, format('%s models, %s tokens, %s relations', count(*), coalesce(sum(m.vocabulary_size), 0),
        coalesce(sum((m.report ->> 'relations')::bigint), 0))
    FROM hypercube.model AS m;

    FOR chosen IN SELECT m.name FROM hypercube.model AS m ORDER BY m.name LOOP
        FOREACH part IN ARRAY CASE WHEN quick THEN '{answer}'::text[] ELSE '{rows,answer,bytes,matrix}'::text[] END LOOP
            BEGIN
                RETURN QUERY
                SELECT format('%s of %s', part, chosen), h.ok, h.detail
                FROM hypercube._model_health(chosen, CASE WHEN quick THEN 'quick' ELSE part END) AS h;
            EXCEPTION
                -- Pages, indexes or bytes that cannot be read or make no sense, a file that cannot be made: an answer to
                -- this question.
                WHEN data_corrupted OR index_corrupted OR internal_error OR external_routine_exception OR io_error OR disk_full OR undefined_file THEN
                    GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
                    "check" := format('%s of %s', part, chosen);
                    ok := false;
                    detail := problem;
                    RETURN NEXT;
            END;
        END LOOP;
    END LOOP;

    FOREACH part IN ARRAY '{documents,server,vectors of sentences,orphans}'::text[] LOOP
        CONTINUE WHEN quick AND part <> 'server';
        CONTINUE WHEN part <> 'documents' AND NOT coalesce(pg_has_role(to_regrole('hypercube_admin'), 'USAGE'), false);
        BEGIN
            CASE part
                WHEN 'documents' THEN RETURN QUERY SELECT d."check", d.ok, d.detail FROM hypercube._documents_health() AS d;
                WHEN 'server' THEN RETURN QUERY SELECT s."check", s.ok, s.detail FROM hypercube._server_health() AS s;
                WHEN 'orphans' THEN RETURN QUERY SELECT o."check", o.ok, o.detail FROM hypercube._orphans_health() AS o;
                ELSE RETURN QUERY SELECT v."check", v.ok, v.detail FROM hypercube._vectors_health() AS v;
            END CASE;
        EXCEPTION
            WHEN data_corrupted OR index_corrupted OR internal_error OR external_routine_exception OR io_error OR disk_full OR undefined_file THEN
                GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
                "check" := part;
                ok := false;
                detail := problem;
                RETURN NEXT;
        END;
    END LOOP;
END
$$;

COMMENT ON FUNCTION hypercube.health(boolean)
    IS 'checks every model and document that the caller sees with real questions and digests, for admins the server as well; ok is false where something has to be done; quick asks stored answers alone';


CREATE FUNCTION hypercube.maintain()
    RETURNS TABLE (step text, done bigint, seconds double precision, detail text)
    ROWS 10
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.maintain()
$python$;

COMMENT ON FUNCTION hypercube.maintain()
    IS 'does what has to be done from time to time, waits for nobody for long, and reports each step; a second call finds nothing to do';


-- Numbers for a monitoring system: about everything, and without a name of a model, a document or a person.


CREATE FUNCTION hypercube.metrics(part text DEFAULT NULL)
    RETURNS TABLE (name text, kind text, help text, labels jsonb, value double precision)
    ROWS 200
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.metrics(part)
$python$;

COMMENT ON FUNCTION hypercube.metrics(text)
    IS 'counters, gauges and histograms of the server, all or those of a part: calls, stored, audit, backups, server, health';


CREATE FUNCTION hypercube.metrics_text(part text DEFAULT NULL)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.metrics_text(part)
$python$;

COMMENT ON FUNCTION hypercube.metrics_text(text)
    IS 'the same in the text format of Prometheus';


-- Who watches the server need not be able to ask a model anything.
GRANT USAGE ON SCHEMA hypercube TO hypercube_monitor;
GRANT EXECUTE ON FUNCTION hypercube._read_as_owner() TO hypercube_monitor;
GRANT EXECUTE ON FUNCTION hypercube.metrics(text), hypercube.metrics_text(text) TO hypercube_monitor, hypercube_admin;
GRANT SELECT ON hypercube.backup_record TO hypercube_monitor, hypercube_admin;


-- Which way a question goes, without asking it.
CREATE FUNCTION hypercube.explain_question(
        question text, query text DEFAULT NULL, words text[] DEFAULT NULL, k integer DEFAULT NULL, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL,
        approximate boolean DEFAULT false, scope text DEFAULT 'sentence')
    RETURNS TABLE (step text, path text, reads text, "rows" bigint, bytes bigint, missing text)
    ROWS 6
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.explain_question(question, query, words, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate, scope)
$python$;

COMMENT ON FUNCTION hypercube.explain_question(
        text, text, text[], integer, text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean, text)
    IS 'which way a question goes, what it reads, and which index, file or statistics are missing; the question is not asked';


-- Nothing is for everybody: a fresh install says it of all functions and then of some, this of the new ones.
REVOKE ALL ON TABLE hypercube.expectation, hypercube.backup_record FROM PUBLIC;
REVOKE ALL ON FUNCTION
    hypercube._require_writable, hypercube._point_number, hypercube._fingerprints, hypercube.record_backup,
    hypercube._version_health, hypercube._model_health, hypercube._server_health, hypercube._vectors_health,
    hypercube._orphans_health, hypercube._documents_health, hypercube.health, hypercube.maintain, hypercube.metrics, hypercube.metrics_text, hypercube.explain_question
    FROM PUBLIC;

GRANT SELECT ON hypercube.expectation TO hypercube_reader;
GRANT EXECUTE ON FUNCTION
    hypercube._require_writable, hypercube._point_number, hypercube._version_health, hypercube._model_health,
    hypercube._documents_health, hypercube.health, hypercube.explain_question, hypercube._document_is_whole
    TO hypercube_reader;
REVOKE EXECUTE ON FUNCTION hypercube._document_is_whole FROM hypercube_admin;
GRANT EXECUTE ON FUNCTION
    hypercube._server_health, hypercube._vectors_health, hypercube._orphans_health, hypercube._fingerprints, hypercube.maintain, hypercube.record_backup
    TO hypercube_admin;
