CREATE TYPE hypercube.answer AS (
    rank integer,
    label text,
    score real,
    model text,
    token_id integer,
    exact boolean
);

COMMENT ON TYPE hypercube.answer
    IS 'one row of a ranked answer, best first; exact says that nothing better was left out';


CREATE FUNCTION hypercube._stored_neighbors(
        model_id integer, model text, token_id integer, k integer, minimum_score double precision DEFAULT NULL)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT edge.rank::integer, t.label, edge.weight, _stored_neighbors.model, edge.target, true
    FROM hypercube.relation AS edge
    JOIN hypercube.token AS t ON t.model_id = edge.model_id AND t.token_id = edge.target
    WHERE edge.model_id = _stored_neighbors.model_id
      AND edge.kind = 'E'
      AND edge.layer = 0
      AND edge.head = 0
      AND edge.source = _stored_neighbors.token_id
      AND edge.rank <= _stored_neighbors.k
      -- Compared as a real, as scores are told; numbers that no real can be stand for their nearest.
      AND (_stored_neighbors.minimum_score IS NULL OR edge.weight >= CASE
          WHEN abs(_stored_neighbors.minimum_score) < 1e-30 THEN 0
          ELSE greatest(-2, least(2, _stored_neighbors.minimum_score)) END::real)
    ORDER BY edge.rank;
END;


-- The stored neighbours of words, for the statement that most questions are.  It reads the tables with the
-- rights of their owner and asks once, of the model, what their policies would ask of every row; whoever
-- reads it directly sees no more than there.
CREATE VIEW hypercube._word_edge
    WITH (security_barrier = true)
AS
SELECT
    m.id AS model_id,
    m.name AS model,
    m.neighbors,
    s.label AS word,
    s.usable,
    s.token_id AS source,
    edge.rank,
    t.label,
    edge.weight,
    edge.target
FROM hypercube.model AS m
JOIN hypercube.token AS s ON s.model_id = m.id AND s.kind = 'word'
JOIN hypercube.relation AS edge
    ON edge.model_id = m.id AND edge.kind = 'E' AND edge.layer = 0 AND edge.head = 0 AND edge.source = s.token_id
JOIN hypercube.token AS t ON t.model_id = m.id AND t.token_id = edge.target
WHERE pg_has_role(to_regrole(quote_ident(m.owner)), 'MEMBER')
    OR EXISTS (
        SELECT FROM unnest(m.readers) AS g (grantee)
        WHERE g.grantee = 'public' OR pg_has_role(to_regrole(quote_ident(g.grantee)), 'MEMBER')
    )
    OR pg_has_role('hypercube_admin', 'USAGE');


CREATE FUNCTION hypercube._scan_neighbors(
        query text, token_id integer, k integer, model text,
        label_like text, kinds hypercube.token_kind[], letters_only boolean,
        exclude_variants boolean, minimum_score double precision, approximate boolean)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.scan_neighbors(query, token_id, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
$python$;


CREATE FUNCTION hypercube._token_neighbors(
        chosen hypercube.model, query text, token_id integer, k integer,
        label_like text, kinds hypercube.token_kind[], letters_only boolean,
        exclude_variants boolean, minimum_score double precision, approximate boolean)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF token_id IS NOT NULL AND k <= chosen.neighbors AND label_like IS NULL AND kinds IS NULL
        AND NOT (letters_only OR exclude_variants OR approximate) AND minimum_score IS DISTINCT FROM 'NaN'
    THEN
        RETURN QUERY SELECT * FROM hypercube._stored_neighbors(chosen.id, chosen.name, token_id, k, minimum_score);
        -- Nothing above the minimum is an answer, where anything is stored.
        IF FOUND OR minimum_score IS NOT NULL
            AND EXISTS (SELECT FROM hypercube._stored_neighbors(chosen.id, chosen.name, token_id, 1))
        THEN
            -- Not before: the scan below counts itself.
            PERFORM hypercube._charge();
            RETURN;
        END IF;
    END IF;

    -- Several pieces, a filter, or more rows than are stored: an exact scan in Python.
    RETURN QUERY SELECT * FROM hypercube._scan_neighbors(
        query, token_id, k, chosen.name, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate);
END
$$;


CREATE FUNCTION hypercube._any_neighbors(
        query text, k integer, model text,
        label_like text, kinds hypercube.token_kind[], letters_only boolean,
        exclude_variants boolean, minimum_score double precision, approximate boolean)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model;
BEGIN
    PERFORM hypercube._check_question(query, k);
    chosen := hypercube._find_model(model);
    RETURN QUERY SELECT * FROM hypercube._token_neighbors(
        chosen, query, hypercube._find_token(chosen.id, query), k,
        label_like, kinds, letters_only, exclude_variants, minimum_score, approximate);
END
$$;


CREATE FUNCTION hypercube.semantic_neighbors(
        query text, k integer DEFAULT 10, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL,
        approximate boolean DEFAULT false)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text := coalesce(model, nullif(current_setting('hypercube.model', true), ''));
    limited boolean := false;
BEGIN
    -- What most questions are: a word of a model, and its stored neighbours, in one statement, which finds
    -- nothing at first where a limit is visible.
    IF k BETWEEN 1 AND 1000 AND label_like IS NULL AND kinds IS NULL AND minimum_score IS NULL
        AND NOT (letters_only OR exclude_variants OR approximate)
        AND length(query) <= 1000 AND current_setting('hypercube.max_k', true) IS NULL
    THEN
        LOOP
            -- The rows of the token that _find_token would choose come first, and fill the answer.
            IF wanted IS NULL THEN
                RETURN QUERY
                SELECT n.rank::integer, n.label, n.weight, n.model, n.target, true
                FROM hypercube._word_edge AS n
                WHERE n.model_id = (SELECT max(o.id) FROM hypercube.model AS o HAVING count(*) = 1)
                  AND n.word = query AND n.rank <= k AND k <= n.neighbors
                  AND query = ltrim(btrim(query), '▁Ġ')
                  AND (limited OR NOT EXISTS (SELECT FROM hypercube.role_limit AS l WHERE l.on_questions))
                ORDER BY n.usable DESC, n.source, n.rank
                LIMIT k;
            ELSE
                RETURN QUERY
                SELECT n.rank::integer, n.label, n.weight, n.model, n.target, true
                FROM hypercube._word_edge AS n
                WHERE n.model = wanted
                  AND n.word = query AND n.rank <= k AND k <= n.neighbors
                  AND query = ltrim(btrim(query), '▁Ġ')
                  AND (limited OR NOT EXISTS (SELECT FROM hypercube.role_limit AS l WHERE l.on_questions))
                ORDER BY n.usable DESC, n.source, n.rank
                LIMIT k;
            END IF;
            IF FOUND THEN
                IF limited THEN
                    PERFORM hypercube._check_limit_of_k(k);
                    PERFORM hypercube._charge();
                END IF;
                RETURN;
            END IF;
            EXIT WHEN limited OR NOT EXISTS (SELECT FROM hypercube.role_limit AS l WHERE l.on_questions);
            limited := true;
        END LOOP;
    END IF;

    RETURN QUERY SELECT * FROM hypercube._any_neighbors(
        query, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate);
END
$$;

COMMENT ON FUNCTION hypercube.semantic_neighbors(
        text, integer, text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean)
    IS 'the k tokens whose embeddings have the greatest cosine with that of a word, from the stored graph where it reaches';


CREATE FUNCTION hypercube.semantic_neighbors(
        composition bytea, k integer DEFAULT 10, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL, approximate boolean DEFAULT false)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model;
    token integer;
    spelled text;
BEGIN
    PERFORM hypercube._check_question(encode(composition, 'hex'), k);
    chosen := hypercube._find_model(model);

    SELECT t.token_id INTO token
    FROM hypercube.token AS t
    WHERE t.composition_id = composition AND t.model_id = chosen.id
    ORDER BY t.kind, t.usable DESC, t.token_id
    LIMIT 1;

    SELECT c.label INTO spelled FROM hypercube.composition AS c WHERE c.id = composition;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('composition %s does not exist', composition),
            HINT = 'Look it up with SELECT id FROM hypercube.composition WHERE label = ''...''.';
    END IF;
    RETURN QUERY SELECT * FROM hypercube._token_neighbors(
        chosen, spelled, token, k, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate);
END
$$;

COMMENT ON FUNCTION hypercube.semantic_neighbors(
        bytea, integer, text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean)
    IS 'the neighbours of the token that a composition spells';


CREATE VIEW hypercube.relation_overview
    WITH (security_invoker = true)
AS
SELECT
    m.name AS model,
    kinds.name AS kind,
    edge.layer,
    edge.head,
    s.label AS source,
    t.label AS target,
    edge.rank,
    edge.weight,
    edge.source AS source_id,
    edge.target AS target_id
FROM hypercube.relation AS edge
JOIN hypercube.model AS m ON m.id = edge.model_id
JOIN hypercube.relation_kind AS kinds ON kinds.kind = edge.kind
JOIN hypercube.token AS s ON s.model_id = edge.model_id AND s.token_id = edge.source
JOIN hypercube.token AS t ON t.model_id = edge.model_id AND t.token_id = edge.target;

COMMENT ON VIEW hypercube.relation_overview
    IS 'relations with labels instead of token ids';
COMMENT ON COLUMN hypercube.relation_overview.model
    IS 'name of the model';
COMMENT ON COLUMN hypercube.relation_overview.kind
    IS 'name of the kind of relation';
COMMENT ON COLUMN hypercube.relation_overview.layer
    IS 'of attention and feed-forward relations; else 0';
COMMENT ON COLUMN hypercube.relation_overview.head
    IS 'of attention relations; else 0';
COMMENT ON COLUMN hypercube.relation_overview.source
    IS 'label of the token that the relation starts from';
COMMENT ON COLUMN hypercube.relation_overview.target
    IS 'label of the token that it leads to';
COMMENT ON COLUMN hypercube.relation_overview.rank
    IS 'place of the target among those of the source, from 1';
COMMENT ON COLUMN hypercube.relation_overview.weight
    IS 'for kind embedding the cosine of the two vectors';
COMMENT ON COLUMN hypercube.relation_overview.source_id
    IS 'token id of the source';
COMMENT ON COLUMN hypercube.relation_overview.target_id
    IS 'token id of the target';
