CREATE TABLE hypercube.index_recall (
    model_id integer NOT NULL,
    k integer NOT NULL,
    sample integer NOT NULL,
    mean double precision NOT NULL,
    minimum double precision NOT NULL,
    ef_search integer NOT NULL,
    measured_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT index_recall_pkey PRIMARY KEY (model_id, k)
);

COMMENT ON TABLE hypercube.index_recall
    IS 'how much of the exact answer the vector index of a model finds, as measure_recall last saw it';
COMMENT ON COLUMN hypercube.index_recall.sample
    IS 'how many tokens were asked about';
COMMENT ON COLUMN hypercube.index_recall.mean
    IS 'share of the k nearest that the index found, over the sample';
COMMENT ON COLUMN hypercube.index_recall.minimum
    IS 'that share for the token where it is least';
COMMENT ON COLUMN hypercube.index_recall.ef_search
    IS 'how many candidates a search kept';

-- No dump takes it along: what it tells is about an index that none takes along either.


CREATE FUNCTION hypercube.create_vector_index(
        model text, m integer DEFAULT 16, ef_construction integer DEFAULT 64)
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.create_vector_index(model, m, ef_construction)
$python$;

COMMENT ON FUNCTION hypercube.create_vector_index(text, integer, integer)
    IS 'makes an HNSW index of pgvector over the unit vectors of a model, for questions with approximate; returns its bytes; for the owner of the model';


CREATE FUNCTION hypercube.drop_vector_index(model text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.drop_vector_index(model)
$python$;

COMMENT ON FUNCTION hypercube.drop_vector_index(text)
    IS 'removes the vector index of a model, returns whether there was one; for its owner';


CREATE FUNCTION hypercube.measure_recall(
        model text, k integer DEFAULT 10, sample integer DEFAULT 200)
    RETURNS TABLE (
        model text, k integer, sample integer, mean double precision, minimum double precision, ef_search integer,
        milliseconds double precision)
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.measure_recall(model, k, sample)
$python$;

COMMENT ON FUNCTION hypercube.measure_recall(text, integer, integer)
    IS 'compares the vector index of a model with the exact answer for evenly spaced tokens, and keeps the result in index_recall; for its owner';
