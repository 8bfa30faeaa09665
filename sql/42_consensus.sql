-- What several models agree on.  Models are joined by what a person reads: the
-- label of a word in lower case.  Each edge counts by its rank, since cosines of
-- different spaces have different scales.


-- Reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009), with their constant.
CREATE FUNCTION hypercube._fused(rank integer)
    RETURNS double precision
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN 1.0::double precision / (60 + _fused.rank);


CREATE MATERIALIZED VIEW hypercube.relation_consensus
AS
WITH known AS (
    SELECT t.folded AS label, count(DISTINCT t.model_id) AS models
    FROM hypercube.token AS t
    JOIN hypercube.model AS m ON m.id = t.model_id AND m.neighbors > 0
    WHERE t.kind = 'word' AND t.usable
    GROUP BY t.folded
    HAVING count(DISTINCT t.model_id) > 1
),
edge AS (
    SELECT
        r.model_id,
        s.folded AS source,
        t.folded AS target,
        min(r.rank)::integer AS rank,
        max(r.weight) AS weight
    FROM hypercube.relation AS r
    JOIN hypercube.token AS s ON s.model_id = r.model_id AND s.token_id = r.source
    JOIN hypercube.token AS t ON t.model_id = r.model_id AND t.token_id = r.target
    WHERE r.kind = 'E' AND s.kind = 'word' AND t.kind = 'word' AND s.folded <> t.folded
      -- No word of a person; two of them would not fit into an entry of the index.
      AND octet_length(s.folded) <= 1000 AND octet_length(t.folded) <= 1000
    GROUP BY r.model_id, s.folded, t.folded
)
SELECT
    e.source,
    e.target,
    k.models::integer AS models,
    count(*)::integer AS agree,
    -- In one order, whatever the plan: sums of floating-point numbers depend on it.
    avg(e.weight ORDER BY e.model_id)::real AS mean_weight,
    stddev_pop(e.weight ORDER BY e.model_id)::real AS spread,
    sum(hypercube._fused(e.rank) ORDER BY e.model_id) AS score
FROM edge AS e
JOIN known AS k ON k.label = e.source
GROUP BY e.source, e.target, k.models
WITH NO DATA;

CREATE UNIQUE INDEX relation_consensus_key ON hypercube.relation_consensus (source, target);

COMMENT ON MATERIALIZED VIEW hypercube.relation_consensus
    IS 'neighbours of the words that several models have, over all of these; refresh_consensus() fills it';
COMMENT ON COLUMN hypercube.relation_consensus.source
    IS 'label of a word in lower case';
COMMENT ON COLUMN hypercube.relation_consensus.target
    IS 'label of one of its neighbours in lower case';
COMMENT ON COLUMN hypercube.relation_consensus.models
    IS 'how many models have the source';
COMMENT ON COLUMN hypercube.relation_consensus.agree
    IS 'how many of them have this neighbour among the stored ones';
COMMENT ON COLUMN hypercube.relation_consensus.mean_weight
    IS 'mean cosine in the models that agree';
COMMENT ON COLUMN hypercube.relation_consensus.spread
    IS 'standard deviation of the cosine over these models, 0 for one';
COMMENT ON COLUMN hypercube.relation_consensus.score
    IS 'reciprocal rank fusion: the sum of 1 / (60 + rank) over the models that agree';


CREATE FUNCTION hypercube.refresh_consensus()
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


-- From the stored neighbours of the moment, not from the materialised view: an
-- answer is never older than the models, and only of those that the caller sees.
CREATE FUNCTION hypercube.consensus_neighbors(query text, k integer DEFAULT 10)
    RETURNS TABLE (
        rank integer, label text, score double precision, agree integer, models integer, mean_weight real,
        spread real, model_names text[], exact boolean)
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    word text := lower(coalesce(nullif(ltrim(btrim(query), '▁Ġ'), ''), query));
    knowing integer;
BEGIN
    PERFORM hypercube._charge();
    PERFORM hypercube._check_question(query, k);
    SELECT count(DISTINCT t.model_id) INTO knowing
    FROM hypercube.token AS t
    JOIN hypercube.model AS m ON m.id = t.model_id AND m.neighbors > 0
    WHERE t.folded = word AND t.kind = 'word' AND t.usable;
    IF knowing = 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('"%s" is a word of no model that has stored neighbours', query),
            HINT = 'Look for a spelling in hypercube.token_overview.';
    END IF;

    RETURN QUERY
    WITH edge AS (
        SELECT m.name, t.folded AS label, min(r.rank)::integer AS rank, max(r.weight) AS weight
        FROM hypercube.token AS s
        JOIN hypercube.model AS m ON m.id = s.model_id
        JOIN hypercube.relation AS r
            ON r.model_id = s.model_id AND r.kind = 'E' AND r.layer = 0 AND r.head = 0 AND r.source = s.token_id
        JOIN hypercube.token AS t ON t.model_id = r.model_id AND t.token_id = r.target
        WHERE s.folded = word AND s.kind = 'word' AND t.kind = 'word' AND t.folded <> word
        GROUP BY m.name, t.folded
    ),
    fused AS (
        SELECT
            e.label,
            -- In one order, whatever the plan: sums of floating-point numbers depend on it.
            sum(hypercube._fused(e.rank) ORDER BY e.name) AS score,
            count(*)::integer AS agree,
            avg(e.weight ORDER BY e.name)::real AS mean_weight,
            stddev_pop(e.weight ORDER BY e.name)::real AS spread,
            array_agg(e.name ORDER BY e.name) AS names
        FROM edge AS e
        GROUP BY e.label
    )
    SELECT
        (row_number() OVER (ORDER BY f.score DESC, f.mean_weight DESC, f.label COLLATE "C"))::integer,
        f.label, f.score, f.agree, knowing, f.mean_weight, f.spread, f.names, true
    FROM fused AS f
    ORDER BY 1
    LIMIT k;
END
$$;

COMMENT ON FUNCTION hypercube.consensus_neighbors(text, integer)
    IS 'the k neighbours of a word that the models rank best together, by reciprocal rank fusion of their stored neighbours';
