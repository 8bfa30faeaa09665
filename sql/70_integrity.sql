-- What has to hold for every model; ingest ends with it and health() repeats it.
CREATE FUNCTION hypercube._broken_postconditions(model_id integer)
    RETURNS SETOF text
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    WITH wanted AS (
        SELECT
            m.vocabulary_size,
            m.neighbors,
            (m.report IS NOT NULL) AS finished,
            (SELECT count(*) FROM hypercube.token AS t WHERE t.model_id = m.id) AS tokens,
            (SELECT count(*) FROM hypercube.token AS t WHERE t.model_id = m.id AND t.usable) AS usable
        FROM hypercube.model AS m
        WHERE m.id = _broken_postconditions.model_id
    ),
    edges AS (
        SELECT
            count(*) AS relations,
            count(*) FILTER (WHERE NOT (r.weight BETWEEN -1 AND 1)) AS senseless,
            count(*) FILTER (WHERE r.source = r.target OR r.rank NOT BETWEEN 1 AND w.neighbors) AS misplaced,
            count(DISTINCT r.source) AS sources
        FROM wanted AS w
        JOIN hypercube.relation AS r ON r.model_id = _broken_postconditions.model_id AND r.kind = 'E'
    ),
    points AS (
        SELECT
            count(*) AS points,
            count(*) FILTER (
                WHERE cube_dim(p.point) <> 4
                   OR NOT (cube_ll_coord(p.point, 1) BETWEEN -1 AND 1)
                   OR NOT (cube_ll_coord(p.point, 2) BETWEEN -1 AND 1)
                   OR NOT (cube_ll_coord(p.point, 3) BETWEEN -1 AND 1)
                   OR NOT (cube_ll_coord(p.point, 4) BETWEEN -1 AND 1)
            ) AS senseless
        FROM hypercube.projection AS p
        WHERE p.model_id = _broken_postconditions.model_id
    ),
    maps AS (
        SELECT coalesce(sum(q.points), 0) AS points
        FROM hypercube.projection_metadata AS q
        WHERE q.model_id = _broken_postconditions.model_id
    )
    SELECT found.broken
    FROM wanted AS w
    CROSS JOIN edges AS e
    CROSS JOIN points AS p
    CROSS JOIN maps AS m
    CROSS JOIN LATERAL (
        VALUES
            (w.tokens <> w.vocabulary_size,
             format('%s tokens for %s rows of the embedding', w.tokens, w.vocabulary_size)),
            (w.neighbors > 0 AND e.relations <> w.usable * w.neighbors,
             format('%s relations for %s usable tokens with %s neighbours', e.relations, w.usable, w.neighbors)),
            (w.neighbors > 0 AND e.sources <> w.usable,
             format('%s of %s usable tokens have relations', e.sources, w.usable)),
            (w.neighbors = 0 AND e.relations <> 0, format('%s relations where none were stored', e.relations)),
            (e.senseless > 0, format('%s relations with a weight that is no cosine', e.senseless)),
            (e.misplaced > 0, format('%s relations to themselves or with a rank out of range', e.misplaced)),
            (p.points <> m.points, format('%s points where %s were projected', p.points, m.points)),
            (m.points > 0 AND m.points <> w.usable, format('%s points for %s usable tokens', m.points, w.usable)),
            (p.senseless > 0, format('%s points that are not four coordinates in -1 to 1', p.senseless))
    ) AS found (is_broken, broken)
    WHERE found.is_broken;
END;


-- Only called by drop_model, which checks the owner and holds the lock of writers.
CREATE FUNCTION hypercube._drop_model(
        model_id integer,
        OUT tensors integer, OUT relations bigint, OUT compositions integer, OUT chunks integer, OUT bytes bigint)
    LANGUAGE plpgsql
    VOLATILE
    PARALLEL UNSAFE
AS $$
DECLARE
    dropped_digests bytea[];
    dropped_compositions bytea[];
BEGIN
    SELECT array_agg(DISTINCT t.digest) INTO dropped_digests
    FROM hypercube.tensor AS t WHERE t.model_id = _drop_model.model_id;
    SELECT array_agg(DISTINCT t.composition_id) INTO dropped_compositions
    FROM hypercube.token AS t WHERE t.model_id = _drop_model.model_id AND t.composition_id IS NOT NULL;

    DELETE FROM hypercube.relation AS r WHERE r.model_id = _drop_model.model_id;
    GET DIAGNOSTICS relations = ROW_COUNT;
    DELETE FROM hypercube.projection AS p WHERE p.model_id = _drop_model.model_id;
    DELETE FROM hypercube.projection_metadata AS p WHERE p.model_id = _drop_model.model_id;
    DELETE FROM hypercube.token AS t WHERE t.model_id = _drop_model.model_id;
    DELETE FROM hypercube.tensor AS t WHERE t.model_id = _drop_model.model_id;
    GET DIAGNOSTICS tensors = ROW_COUNT;
    DELETE FROM hypercube.model_file AS f WHERE f.model_id = _drop_model.model_id;
    DELETE FROM hypercube.model AS m WHERE m.id = _drop_model.model_id;

    WITH unreferenced AS (
        DELETE FROM hypercube.tensor_chunk AS piece
        WHERE piece.tensor_digest = ANY (dropped_digests)
          AND NOT EXISTS (SELECT FROM hypercube.tensor AS t WHERE t.digest = piece.tensor_digest)
        RETURNING piece.tensor_digest, piece.ordinal, piece.chunk_digest
    ),
    gone AS (
        DELETE FROM hypercube.chunk AS c
        WHERE c.digest IN (SELECT u.chunk_digest FROM unreferenced AS u)
          -- The pieces deleted above are still seen by this statement.
          AND NOT EXISTS (
              SELECT
              FROM hypercube.tensor_chunk AS piece
              WHERE piece.chunk_digest = c.digest
                AND NOT EXISTS (
                    SELECT
                    FROM unreferenced AS u
                    WHERE u.tensor_digest = piece.tensor_digest AND u.ordinal = piece.ordinal)
          )
        RETURNING c.size
    )
    SELECT count(*), coalesce(sum(g.size), 0) INTO chunks, bytes FROM gone AS g;

    DELETE FROM hypercube.composition AS c
    USING unnest(dropped_compositions) AS dropped (id)
    WHERE c.id = dropped.id
      AND NOT EXISTS (SELECT FROM hypercube.token AS t WHERE t.composition_id = c.id)
      AND NOT EXISTS (SELECT FROM hypercube.composition_child AS p WHERE p.child_id = c.id);
    GET DIAGNOSTICS compositions = ROW_COUNT;
    DELETE FROM hypercube.composition_child AS p
    USING unnest(dropped_compositions) AS dropped (id)
    WHERE p.composition_id = dropped.id
      AND NOT EXISTS (SELECT FROM hypercube.composition AS c WHERE c.id = dropped.id);
END
$$;
