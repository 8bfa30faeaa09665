CREATE FUNCTION hypercube.allow_source(path text, role text DEFAULT 'hypercube_ingest')
    RETURNS text
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.allow_source(path, role)
$python$;

COMMENT ON FUNCTION hypercube.allow_source(text, text)
    IS 'lets the members of a role read models from a folder of the server, returns the folder with symbolic links resolved; for superusers and members of pg_read_server_files';


CREATE FUNCTION hypercube.disallow_source(path text, role text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.disallow_source(path, role)
$python$;

COMMENT ON FUNCTION hypercube.disallow_source(text, text)
    IS 'takes back allow_source, for one role or for all, returns whether the folder was allowed';


CREATE TYPE hypercube.ingest_report AS (
    model text,
    tensors integer,
    classified integer,
    chunks integer,
    bytes bigint,
    tokens integer,
    usable integer,
    compositions integer,
    relations bigint,
    projected integer,
    components integer,
    residual double precision,
    neighbor_preservation double precision,
    seconds jsonb,
    notes text[]
);

COMMENT ON TYPE hypercube.ingest_report
    IS 'what an ingest counted: chunks and compositions are those that no other model or document which the caller sees has, seconds has one entry a stage';


CREATE FUNCTION hypercube.ingest(
        source text, name text DEFAULT NULL, neighbors integer DEFAULT 16, store text DEFAULT 'all',
        tokenizer text DEFAULT NULL)
    RETURNS SETOF hypercube.ingest_report
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.ingest(source, name, neighbors, store, tokenizer)
$python$;

COMMENT ON FUNCTION hypercube.ingest(text, text, integer, text, text)
    IS 'stores the model found in a folder or safetensors file of the server, with its vocabulary, relations and map; all or nothing';


CREATE FUNCTION hypercube.model_report(model text DEFAULT NULL)
    RETURNS SETOF hypercube.ingest_report
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT r.*
    FROM hypercube._find_model(model_report.model) AS m,
         jsonb_populate_record(NULL::hypercube.ingest_report, m.report) AS r;
END;

COMMENT ON FUNCTION hypercube.model_report(text)
    IS 'what ingest returned for a stored model';


CREATE TYPE hypercube.drop_report AS (
    model text,
    tensors integer,
    relations bigint,
    compositions integer,
    chunks integer,
    bytes bigint
);

COMMENT ON TYPE hypercube.drop_report
    IS 'what a drop removed: compositions, chunks and bytes are those that nothing else which the caller sees has';


CREATE FUNCTION hypercube.drop_model(model text)
    RETURNS SETOF hypercube.drop_report
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.drop_model(model)
$python$;

COMMENT ON FUNCTION hypercube.drop_model(text)
    IS 'removes a model and everything that only it refers to, says what and how many bytes; for its owner and superusers';


CREATE VIEW hypercube.model_overview
    WITH (security_invoker = true)
AS
SELECT
    m.name AS model,
    m.architecture,
    m.dimension,
    m.vocabulary_size,
    m.embedding,
    m.neighbors,
    t.tensors,
    t.parameters,
    t.bytes,
    coalesce(h.stored_bytes, 0) AS stored_bytes,
    coalesce(h.shared_bytes, 0) AS shared_bytes,
    t.classified_share,
    p.components,
    p.neighbor_preservation,
    p.quality_score,
    m.licence,
    m.owner,
    m.created_at,
    encode(m.root, 'hex') AS root
FROM hypercube.model AS m
LEFT JOIN (
    SELECT
        s.model_id,
        count(*) AS tensors,
        sum(s.elements)::bigint AS parameters,
        sum(s.bytes)::bigint AS bytes,
        (avg(CASE WHEN s.role = 'other' THEN 0 ELSE 1 END))::real AS classified_share
    FROM hypercube.tensor AS s
    GROUP BY s.model_id
) AS t ON t.model_id = m.id
LEFT JOIN (
    SELECT
        held.model_id,
        sum(held.bytes)::bigint AS stored_bytes,
        sum(held.bytes) FILTER (WHERE held.models > 1)::bigint AS shared_bytes
    FROM (
        SELECT DISTINCT
            s.model_id,
            s.digest,
            s.bytes,
            -- Distinct models of a tensor, which a window cannot count in one go.
            dense_rank() OVER (PARTITION BY s.digest ORDER BY s.model_id)
            + dense_rank() OVER (PARTITION BY s.digest ORDER BY s.model_id DESC) - 1 AS models
        FROM hypercube.tensor AS s
        WHERE s.stored
    ) AS held
    GROUP BY held.model_id
) AS h ON h.model_id = m.id
LEFT JOIN hypercube.projection_metadata AS p ON p.model_id = m.id AND p.tensor_name = m.embedding;

COMMENT ON VIEW hypercube.model_overview
    IS 'one row a model: size, bytes stored and shared with other models, quality of its map, owner';
COMMENT ON COLUMN hypercube.model_overview.model
    IS 'name of the model';
COMMENT ON COLUMN hypercube.model_overview.architecture
    IS 'what its configuration calls it';
COMMENT ON COLUMN hypercube.model_overview.dimension
    IS 'length of an embedding vector; null without a usable embedding';
COMMENT ON COLUMN hypercube.model_overview.vocabulary_size
    IS 'rows of the embedding';
COMMENT ON COLUMN hypercube.model_overview.embedding
    IS 'name of the tensor that questions are answered from';
COMMENT ON COLUMN hypercube.model_overview.neighbors
    IS 'stored neighbours of each usable token';
COMMENT ON COLUMN hypercube.model_overview.tensors
    IS 'how many it has';
COMMENT ON COLUMN hypercube.model_overview.parameters
    IS 'numbers in all of them together';
COMMENT ON COLUMN hypercube.model_overview.bytes
    IS 'of all tensors in their files';
COMMENT ON COLUMN hypercube.model_overview.stored_bytes
    IS 'of its tensors in this database, equal ones counted once';
COMMENT ON COLUMN hypercube.model_overview.shared_bytes
    IS 'of those of its tensors that another model which the caller sees has too';
COMMENT ON COLUMN hypercube.model_overview.classified_share
    IS 'share of the tensors whose role is known';
COMMENT ON COLUMN hypercube.model_overview.components
    IS 'parts that the neighbour graph fell into before they were joined';
COMMENT ON COLUMN hypercube.model_overview.neighbor_preservation
    IS 'share of the 15 nearest that the map keeps';
COMMENT ON COLUMN hypercube.model_overview.quality_score
    IS 'of the map, 0 to 1';
COMMENT ON COLUMN hypercube.model_overview.licence
    IS 'as the model says';
COMMENT ON COLUMN hypercube.model_overview.owner
    IS 'the role that brought it';
COMMENT ON COLUMN hypercube.model_overview.created_at
    IS 'when it was ingested';
COMMENT ON COLUMN hypercube.model_overview.root
    IS 'BLAKE3 Merkle root over its tensors, in hexadecimal digits';


CREATE VIEW hypercube.tensor_overview
    WITH (security_invoker = true)
AS
SELECT
    m.name AS model,
    t.name AS tensor,
    t.role,
    t.layer,
    t.dtype,
    t.shape,
    t.bytes,
    t.nan_count,
    t.inf_count,
    t.zero_count,
    t.minimum,
    t.maximum,
    t.mean,
    t.deviation,
    t.stored,
    t.skipped,
    t.scaling,
    encode(t.digest, 'hex') AS digest
FROM hypercube.tensor AS t
JOIN hypercube.model AS m ON m.id = t.model_id;

COMMENT ON VIEW hypercube.tensor_overview
    IS 'tensors with the name of their model: role, dtype, shape, counts of NaN and Inf, moments';
COMMENT ON COLUMN hypercube.tensor_overview.model
    IS 'name of the model';
COMMENT ON COLUMN hypercube.tensor_overview.tensor
    IS 'name of the tensor';
COMMENT ON COLUMN hypercube.tensor_overview.role
    IS 'which part of the network it is';
COMMENT ON COLUMN hypercube.tensor_overview.layer
    IS 'number of the layer; null outside of layers';
COMMENT ON COLUMN hypercube.tensor_overview.dtype
    IS 'as safetensors spells it';
COMMENT ON COLUMN hypercube.tensor_overview.shape
    IS 'sides of the tensor';
COMMENT ON COLUMN hypercube.tensor_overview.bytes
    IS 'in its file';
COMMENT ON COLUMN hypercube.tensor_overview.nan_count
    IS 'values that are NaN; null where the dtype is not decoded, as the next five';
COMMENT ON COLUMN hypercube.tensor_overview.inf_count
    IS 'values that are infinite';
COMMENT ON COLUMN hypercube.tensor_overview.zero_count
    IS 'values that are 0';
COMMENT ON COLUMN hypercube.tensor_overview.minimum
    IS 'least finite value';
COMMENT ON COLUMN hypercube.tensor_overview.maximum
    IS 'greatest finite value';
COMMENT ON COLUMN hypercube.tensor_overview.mean
    IS 'of the finite values';
COMMENT ON COLUMN hypercube.tensor_overview.deviation
    IS 'standard deviation of the finite values';
COMMENT ON COLUMN hypercube.tensor_overview.stored
    IS 'whether its bytes are kept';
COMMENT ON COLUMN hypercube.tensor_overview.skipped
    IS 'why it was not used for relations and map, when it would have been';
COMMENT ON COLUMN hypercube.tensor_overview.scaling
    IS 'the rule by which it was scaled before it was used';
COMMENT ON COLUMN hypercube.tensor_overview.digest
    IS 'BLAKE3 over dtype, shape and bytes, in hexadecimal digits';


CREATE VIEW hypercube.progress
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

COMMENT ON VIEW hypercube.progress
    IS 'what long-running functions are doing now, in every session that the caller may see';
COMMENT ON COLUMN hypercube.progress.pid
    IS 'process of the session';
COMMENT ON COLUMN hypercube.progress.role
    IS 'who is logged in there';
COMMENT ON COLUMN hypercube.progress.operation
    IS 'which function works';
COMMENT ON COLUMN hypercube.progress.stage
    IS 'what it does now';
COMMENT ON COLUMN hypercube.progress.percent
    IS 'share that is done, 0 to 100';
COMMENT ON COLUMN hypercube.progress.remaining
    IS 'time that is left, estimated';
COMMENT ON COLUMN hypercube.progress.started_at
    IS 'when the statement began';
COMMENT ON COLUMN hypercube.progress.query
    IS 'the statement, where PostgreSQL lets the caller see it';
COMMENT ON COLUMN hypercube.progress.call
    IS 'id of the call, or its beginning where the client gave a long one';
