CREATE FUNCTION hypercube.relate_sequences(
        model text DEFAULT NULL, window_size integer DEFAULT 1, minimum_count integer DEFAULT 2)
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.relate_sequences(model, window_size, minimum_count)
$python$;

COMMENT ON FUNCTION hypercube.relate_sequences(text, integer, integer)
    IS 'makes the relations of kind S of a model from the counts of now in documents that its owner sees, with pointwise mutual information as weight; pairs that documents take along go at once, everything else with the next call; a minimum of null removes them';


CREATE FUNCTION hypercube._one_token(chosen hypercube.model, word text)
    RETURNS integer
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    token integer;
BEGIN
    PERFORM hypercube._check_question(word, 1);
    token := hypercube._find_token(chosen.id, word);
    IF token IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('"%s" is not a token of model "%s"', word, chosen.name),
            DETAIL = 'Sequences are counted between single tokens.',
            HINT = 'See how it is cut with SELECT * FROM hypercube.tokenize(''...'').';
    END IF;
    RETURN token;
END
$$;


CREATE TYPE hypercube.continuation AS (
    rank integer,
    label text,
    count bigint,
    probability double precision,
    pmi double precision,
    model text,
    token_id integer
);

COMMENT ON TYPE hypercube.continuation
    IS 'a token that follows another: how often, its share of all that follow, and the pointwise mutual information of the two in bits';


CREATE FUNCTION hypercube.continuations(label text, k integer DEFAULT 10, model text DEFAULT NULL)
    RETURNS SETOF hypercube.continuation
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model;
    token integer;
BEGIN
    PERFORM hypercube._charge();
    chosen := hypercube._find_model(model);
    token := hypercube._one_token(chosen, label);
    PERFORM hypercube._check_question(label, k);
    RETURN QUERY
    WITH following AS (
        SELECT s.target, s.count, sum(s.count) OVER () AS all_following
        FROM (
            SELECT o.target, sum(o.count)::bigint AS count
            FROM hypercube.sequence AS o
            WHERE o.model_id = chosen.id AND o.source = token
            GROUP BY o.target
        ) AS s
        ORDER BY s.count DESC, s.target
        LIMIT k
    ),
    total AS (
        SELECT sum(d.pairs)::double precision AS pairs FROM hypercube.document AS d WHERE d.model_id = chosen.id
    )
    SELECT
        (row_number() OVER (ORDER BY f.count DESC, f.target))::integer,
        t.label,
        f.count,
        f.count / f.all_following::double precision,
        ln(f.count * total.pairs / (f.all_following::double precision * before.count)) / ln(2::double precision),
        chosen.name,
        f.target
    FROM following AS f
    CROSS JOIN total
    CROSS JOIN LATERAL (
        SELECT sum(s.count)::double precision AS count
        FROM hypercube.sequence AS s
        WHERE s.model_id = chosen.id AND s.target = f.target
    ) AS before
    JOIN hypercube.token AS t ON t.model_id = chosen.id AND t.token_id = f.target
    ORDER BY f.count DESC, f.target;
END
$$;

COMMENT ON FUNCTION hypercube.continuations(text, integer, text)
    IS 'the k tokens that most often follow a token in the stored documents';


CREATE FUNCTION hypercube.cooccurs(a text, b text, model text DEFAULT NULL)
    RETURNS TABLE (a_then_b bigint, b_then_a bigint, probability double precision, pmi double precision)
    ROWS 1
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model;
    first integer;
    second integer;
BEGIN
    PERFORM hypercube._charge();
    chosen := hypercube._find_model(model);
    first := hypercube._one_token(chosen, a);
    second := hypercube._one_token(chosen, b);
    RETURN QUERY
    SELECT
        x.forth,
        x.back,
        x.forth / nullif(x.following, 0),
        CASE WHEN x.forth > 0 THEN ln(x.forth * x.pairs / (x.following * x.before)) / ln(2::double precision) END
    FROM (
        SELECT
            coalesce((SELECT sum(s.count)::bigint FROM hypercube.sequence AS s
                      WHERE s.model_id = chosen.id AND s.source = first AND s.target = second), 0) AS forth,
            coalesce((SELECT sum(s.count)::bigint FROM hypercube.sequence AS s
                      WHERE s.model_id = chosen.id AND s.source = second AND s.target = first), 0) AS back,
            (SELECT sum(s.count)::double precision FROM hypercube.sequence AS s
             WHERE s.model_id = chosen.id AND s.source = first) AS following,
            (SELECT sum(s.count)::double precision FROM hypercube.sequence AS s
             WHERE s.model_id = chosen.id AND s.target = second) AS before,
            (SELECT sum(d.pairs)::double precision FROM hypercube.document AS d
             WHERE d.model_id = chosen.id) AS pairs
    ) AS x;
END
$$;

COMMENT ON FUNCTION hypercube.cooccurs(text, text, text)
    IS 'how often one token follows another and the other way round, its share of all that follow, and their pointwise mutual information in bits';
