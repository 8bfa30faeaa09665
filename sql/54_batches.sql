CREATE TYPE hypercube.batch_answer AS (
    question integer,
    rank integer,
    label text,
    score real,
    model text,
    token_id integer,
    exact boolean
);

COMMENT ON TYPE hypercube.batch_answer
    IS 'one row of the answers to many questions: the number of the question from 1, and a row of its ranked answer';


-- Columns cross from Python as arrays; labels are joined here, where they are.
CREATE TYPE hypercube._batch AS (
    model text,
    model_id integer,
    question integer[],
    rank integer[],
    token_id integer[],
    score real[]
);


CREATE FUNCTION hypercube._rows_of(batch hypercube._batch)
    RETURNS SETOF hypercube.batch_answer
    ROWS 1000
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT r.question, r.rank, t.label, r.score, (_rows_of.batch).model, r.token_id, true
    FROM unnest(
        (_rows_of.batch).question, (_rows_of.batch).rank, (_rows_of.batch).token_id, (_rows_of.batch).score
    ) WITH ORDINALITY AS r (question, rank, token_id, score, place)
    JOIN hypercube.token AS t ON t.model_id = (_rows_of.batch).model_id AND t.token_id = r.token_id
    ORDER BY r.place;
END;


CREATE FUNCTION hypercube._analogies(
        questions text[], k integer, model text, method text, skip_unknown boolean,
        label_like text, kinds hypercube.token_kind[], letters_only boolean, exclude_variants boolean, minimum_score double precision)
    RETURNS hypercube._batch
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.analogies(questions, k, model, method, skip_unknown, label_like, kinds, letters_only, exclude_variants, minimum_score)
$python$;


CREATE FUNCTION hypercube.analogies(
        questions text[], k integer DEFAULT 1, model text DEFAULT NULL, method text DEFAULT '3cosadd',
        skip_unknown boolean DEFAULT false,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL)
    RETURNS SETOF hypercube.batch_answer
    ROWS 1000
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT r.*
    FROM hypercube._analogies(
        analogies.questions, analogies.k, analogies.model, analogies.method, analogies.skip_unknown,
        analogies.label_like, analogies.kinds, analogies.letters_only, analogies.exclude_variants,
        analogies.minimum_score) AS b
    CROSS JOIN LATERAL hypercube._rows_of(b) AS r;
END;

COMMENT ON FUNCTION hypercube.analogies(
        text[], integer, text, text, boolean, text, hypercube.token_kind[], boolean, boolean, double precision)
    IS 'the k best answers to each of many analogies, given as triples of words, with one matrix product for all';


CREATE FUNCTION hypercube._nearest_batch(
        vectors bytea, is_array boolean, k integer, model text,
        label_like text, kinds hypercube.token_kind[], letters_only boolean, minimum_score double precision)
    RETURNS hypercube._batch
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.nearest_batch(vectors, is_array, k, model, label_like, kinds, letters_only, minimum_score)
$python$;


CREATE FUNCTION hypercube.nearest_batch(
        vectors real[], k integer DEFAULT 10, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        minimum_score double precision DEFAULT NULL)
    RETURNS SETOF hypercube.batch_answer
    ROWS 1000
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT r.*
    FROM hypercube._nearest_batch(
        array_send(nearest_batch.vectors), true, nearest_batch.k, nearest_batch.model,
        nearest_batch.label_like, nearest_batch.kinds, nearest_batch.letters_only, nearest_batch.minimum_score) AS b
    CROSS JOIN LATERAL hypercube._rows_of(b) AS r;
END;

COMMENT ON FUNCTION hypercube.nearest_batch(
        real[], integer, text, text, hypercube.token_kind[], boolean, double precision)
    IS 'the k tokens nearest to each of many vectors, given as rows of an array, with one matrix product for all';


CREATE FUNCTION hypercube.nearest_batch(
        vectors bytea, k integer DEFAULT 10, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        minimum_score double precision DEFAULT NULL)
    RETURNS SETOF hypercube.batch_answer
    ROWS 1000
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT r.*
    FROM hypercube._nearest_batch(
        nearest_batch.vectors, false, nearest_batch.k, nearest_batch.model,
        nearest_batch.label_like, nearest_batch.kinds, nearest_batch.letters_only, nearest_batch.minimum_score) AS b
    CROSS JOIN LATERAL hypercube._rows_of(b) AS r;
END;

COMMENT ON FUNCTION hypercube.nearest_batch(
        bytea, integer, text, text, hypercube.token_kind[], boolean, double precision)
    IS 'the k tokens nearest to each of many vectors, given as little-endian float32 numbers one after the other';


CREATE FUNCTION hypercube._neighbor_join(
        model_a text, model_b text, k integer, source_like text,
        label_like text, kinds hypercube.token_kind[], letters_only boolean, minimum_score double precision)
    RETURNS hypercube._batch
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.neighbor_join(model_a, model_b, k, source_like, label_like, kinds, letters_only, minimum_score)
$python$;


CREATE FUNCTION hypercube.neighbor_join(
        model_a text, model_b text, k integer DEFAULT 1, source_like text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        minimum_score double precision DEFAULT NULL)
    RETURNS TABLE (
        source_id integer, source text, rank integer, target_id integer, target text, score real, exact boolean)
    ROWS 10000
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT r.question, s.label, r.rank, r.token_id, r.label, r.score, r.exact
    FROM hypercube._neighbor_join(
        neighbor_join.model_a, neighbor_join.model_b, neighbor_join.k, neighbor_join.source_like,
        neighbor_join.label_like, neighbor_join.kinds, neighbor_join.letters_only, neighbor_join.minimum_score) AS b
    -- Looked up after the question was answered: it alone refuses a model, whatever the plan.
    CROSS JOIN LATERAL (
        SELECT f.id FROM hypercube._find_model(neighbor_join.model_a) AS f WHERE b.model_id IS NOT NULL OFFSET 0
    ) AS m
    CROSS JOIN LATERAL hypercube._rows_of(b) WITH ORDINALITY
        AS r (question, rank, label, score, model, token_id, exact, place)
    JOIN hypercube.token AS s ON s.model_id = m.id AND s.token_id = r.question
    ORDER BY r.place;
END;

COMMENT ON FUNCTION hypercube.neighbor_join(
        text, text, integer, text, text, hypercube.token_kind[], boolean, double precision)
    IS 'for each token of one model the k tokens of another with the greatest cosine; the two must share one space, as a quantised or fine-tuned copy does';
