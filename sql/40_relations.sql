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


CREATE FUNCTION hypercube._stored_neighbors(model_id integer, model text, token_id integer, k integer)
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
    ORDER BY edge.rank
    LIMIT _stored_neighbors.k;
END;


CREATE FUNCTION hypercube._scan_neighbors(query text, token_id integer, k integer, model text)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.scan_neighbors(query, token_id, k, model)
$python$;


CREATE FUNCTION hypercube.semantic_neighbors(query text, k integer DEFAULT 10, model text DEFAULT NULL)
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
BEGIN
    PERFORM hypercube._check_question(query, k);
    chosen := hypercube._find_model(model);
    token := hypercube._find_token(chosen.id, query);

    IF token IS NOT NULL AND k <= chosen.neighbors THEN
        RETURN QUERY SELECT * FROM hypercube._stored_neighbors(chosen.id, chosen.name, token, k);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    -- Several pieces, or more rows than are stored: an exact scan in Python.
    RETURN QUERY SELECT * FROM hypercube._scan_neighbors(query, token, k, chosen.name);
END
$$;

COMMENT ON FUNCTION hypercube.semantic_neighbors(text, integer, text)
    IS 'the k tokens whose embeddings have the greatest cosine with that of a word, from the stored graph where it reaches';


CREATE FUNCTION hypercube.semantic_neighbors(composition bytea, k integer DEFAULT 10, model text DEFAULT NULL)
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

    IF token IS NOT NULL AND k <= chosen.neighbors THEN
        RETURN QUERY SELECT * FROM hypercube._stored_neighbors(chosen.id, chosen.name, token, k);
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;

    SELECT c.label INTO spelled FROM hypercube.composition AS c WHERE c.id = composition;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('composition %s does not exist', composition),
            HINT = 'Look it up with SELECT id FROM hypercube.composition WHERE label = ''...''.';
    END IF;
    RETURN QUERY SELECT * FROM hypercube._scan_neighbors(spelled, token, k, chosen.name);
END
$$;

COMMENT ON FUNCTION hypercube.semantic_neighbors(bytea, integer, text)
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
