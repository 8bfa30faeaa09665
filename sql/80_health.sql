CREATE FUNCTION hypercube._environment_health()
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
