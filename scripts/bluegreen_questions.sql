-- The questions that scripts/bluegreen asks both clusters: one statement a row, drawn from what is stored. The
-- draw is by digests, so that it is the same each time. :verify is on or off.
WITH word AS (
    SELECT m.name AS model, w.drawn
    FROM hypercube.model AS m
    CROSS JOIN LATERAL (
        SELECT array_agg(label ORDER BY place) AS drawn
        FROM (
            SELECT t.label, row_number() OVER (ORDER BY md5(t.label), t.token_id) AS place
            FROM hypercube.token AS t
            WHERE t.model_id = m.id AND t.kind = 'word'
            ORDER BY md5(t.label), t.token_id
            LIMIT 8
        ) AS found
    ) AS w
), document AS (
    SELECT name, left(content, 100) AS beginning
    FROM (SELECT d.name FROM hypercube.document AS d ORDER BY md5(d.name) LIMIT 5) AS found
    CROSS JOIN LATERAL hypercube.document_text(found.name) AS t (content)
), composition AS (
    SELECT c.id, c.label FROM hypercube.composition AS c ORDER BY c.id LIMIT 5
), question (priority, place, statement) AS (
    -- Rows are compared in the order in which they come: each of these says what that is.
    SELECT 1, '', unnest(ARRAY[
        'SELECT * FROM hypercube.model_overview ORDER BY model',
        'SELECT * FROM hypercube.document_overview ORDER BY document',
        'SELECT name, model_id, digest, bytes FROM hypercube.tensor ORDER BY model_id, name',
        'SELECT * FROM hypercube.grant_overview AS g ORDER BY g::text',
        'SELECT model_id, kind, count(*) FROM hypercube.relation GROUP BY 1, 2 ORDER BY 1, 2',
        'SELECT count(*) FROM hypercube.composition',
        'SELECT count(*), max(id) FROM hypercube.audit_log',
        'SELECT * FROM hypercube.limit_overview AS l ORDER BY l::text',
        'SELECT extversion FROM pg_extension WHERE extname = ''hypercube'''
    ])
    UNION ALL
    SELECT 2, word.model, format(template, word.model, a, b, c, d)
    FROM word
    CROSS JOIN LATERAL (
        SELECT drawn[n], drawn[n % 8 + 1], drawn[(n + 1) % 8 + 1], drawn[(n + 2) % 8 + 1]
        FROM generate_series(1, least(4, cardinality(drawn))) AS n
    ) AS words (a, b, c, d)
    CROSS JOIN unnest(ARRAY[
        'SELECT hypercube.warm(%1$L)',
        'SELECT * FROM hypercube.model_report(%1$L)',
        'SELECT * FROM hypercube.semantic_neighbors(%2$L, 10, %1$L)',
        'SELECT * FROM hypercube.semantic_neighbors(%2$L, 10, %1$L, letters_only => true)',
        'SELECT * FROM hypercube.semantic_neighbors(hypercube.find_composition(%2$L), 10, %1$L)',
        'SELECT * FROM hypercube.most_similar(ARRAY[%2$L, %3$L], ARRAY[%4$L], 10, %1$L)',
        'SELECT * FROM hypercube.analogy(%2$L, %3$L, %4$L, 10, %1$L)',
        'SELECT * FROM hypercube.analogy(%2$L, %3$L, %4$L, 10, %1$L, ''3cosmul'')',
        'SELECT * FROM hypercube.analogies(ARRAY[[%2$L, %3$L, %4$L]], 3, %1$L)',
        'SELECT * FROM hypercube.midpoint(%2$L, %3$L, 10, %1$L)',
        'SELECT * FROM hypercube.closer_than(%2$L, %3$L, 10, %1$L)',
        'SELECT * FROM hypercube.nearest(hypercube.embedding(%2$L, %1$L), 10, %1$L)',
        'SELECT * FROM hypercube.nearest_batch(hypercube.embedding(%2$L, %1$L), 3, %1$L)',
        'SELECT hypercube.embedding(%2$L, %1$L), hypercube.token_id(%2$L, %1$L)',
        'SELECT hypercube.centroid(ARRAY[%2$L, %3$L], %1$L)',
        'SELECT hypercube.similarity(%2$L, %3$L, %1$L), hypercube.rank_of(%2$L, %3$L, %1$L)',
        'SELECT hypercube.odd_one_out(ARRAY[%2$L, %3$L, %4$L], %1$L)',
        'SELECT * FROM hypercube.rank_by_centrality(ARRAY[%2$L, %3$L, %4$L], %1$L)',
        'SELECT * FROM hypercube.spatial_neighbors(%2$L, 10, %1$L)',
        'SELECT * FROM hypercube.consensus_neighbors(%2$L, 10)',
        'SELECT * FROM hypercube.orthographic_neighbors(%2$L, 10)',
        'SELECT * FROM hypercube.continuations(%2$L, 10, %1$L)',
        'SELECT * FROM hypercube.cooccurs(%2$L, %3$L, %1$L)',
        'SELECT * FROM hypercube.tokenize(concat_ws('' '', %2$L, %3$L, %4$L), %1$L)',
        'SELECT hypercube.count_tokens(concat_ws('' '', %2$L, %3$L, %4$L), %1$L)',
        'SELECT hypercube.embed(concat_ws('' '', %2$L, %3$L, %4$L), %1$L)',
        'SELECT * FROM hypercube.search(concat_ws('' '', %2$L, %3$L), 10, %1$L)',
        'SELECT * FROM hypercube.search(concat_ws('' '', %2$L, %3$L), 10, %1$L, ''document'')',
        'SELECT * FROM hypercube.hybrid_search(concat_ws('' '', %2$L, %3$L), 10, %1$L)',
        'SELECT * FROM hypercube.ask(concat_ws('' '', %2$L, %3$L), 5, %1$L)',
        'SELECT * FROM hypercube.search_text(%2$L, 10)'
    ]) AS asked (template)
    UNION ALL
    SELECT 3, document.name, format(template, document.name, document.beginning)
    FROM document
    CROSS JOIN unnest(ARRAY[
        'SELECT hypercube.verify_document(%1$L)',
        'SELECT hypercube.document_text(%1$L)',
        'SELECT * FROM hypercube.search_text(%2$L, 10)',
        'SELECT hypercube.composition_id(%2$L)'
    ]) AS asked (template)
    UNION ALL
    SELECT 4, composition.label, format(template, composition.id)
    FROM composition
    CROSS JOIN unnest(ARRAY[
        'SELECT hypercube.composition_bytes(%1$L::bytea), hypercube.depth(%1$L::bytea), hypercube.centroid(%1$L::bytea)',
        'SELECT * FROM hypercube.children(%1$L::bytea) ORDER BY ordinal',
        'SELECT * FROM hypercube.parents(%1$L::bytea) AS p ORDER BY p::text'
    ]) AS asked (template)
    UNION ALL
    SELECT 5, word.model, format('SELECT v.* FROM hypercube.verify_model(%1$L) AS v ORDER BY kind, name', word.model)
    FROM word
    WHERE :'verify' = 'on'
)
SELECT DISTINCT ON (priority, place, statement) statement
FROM question
WHERE statement IS NOT NULL
ORDER BY priority, place, statement;
