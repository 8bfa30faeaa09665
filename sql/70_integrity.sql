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
            count(*) FILTER (WHERE hypercube._off_the_map(p.point)) AS senseless
        FROM hypercube.projection AS p
        WHERE p.model_id = _broken_postconditions.model_id
    ),
    bytes AS (
        SELECT count(*) AS torn
        FROM hypercube.tensor AS t
        WHERE t.model_id = _broken_postconditions.model_id
          AND t.stored
          AND t.bytes <> (
              SELECT coalesce(sum(c.size), 0)
              FROM hypercube.tensor_chunk AS piece
              JOIN hypercube.chunk AS c ON c.digest = piece.chunk_digest
              WHERE piece.tensor_digest = t.digest
          )
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
    CROSS JOIN bytes AS b
    CROSS JOIN LATERAL (
        VALUES
            (b.torn > 0, format('%s tensors without all their chunks', b.torn)),
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
