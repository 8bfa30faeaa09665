-- Sent by scripts/demo, which sets :models (a folder) and :installed (whether the extension is there).
\set ECHO queries
\if :installed
\else
CREATE EXTENSION hypercube CASCADE;
\endif

\set ECHO none
SELECT count(*) = 0 AS to_ingest FROM hypercube.model WHERE name = 'minilm' \gset
\set folder :models '/all-MiniLM-L6-v2'
\set ECHO queries
\if :to_ingest
SELECT hypercube.allow_source(:'models');
\x on
SELECT * FROM hypercube.ingest(:'folder', 'minilm');
\x off
\endif

SET hypercube.model = 'minilm';

SELECT * FROM hypercube.semantic_neighbors('whale', 5);

SELECT * FROM hypercube.semantic_neighbors((SELECT id FROM hypercube.composition WHERE label = 'whale' LIMIT 1), 10);

SELECT * FROM hypercube.analogy('man', 'king', 'woman', 5);

SELECT * FROM hypercube.analogy('france', 'paris', 'germany', 3);

SELECT * FROM hypercube.analogies('{{man,king,woman},{france,paris,germany},{big,bigger,small}}');

SELECT hypercube.similarity('king', 'queen');

SELECT hypercube.odd_one_out('{breakfast,dinner,lunch,car}');

SELECT * FROM hypercube.semantic_neighbors('whale', 5, label_like => 's%', letters_only => true);

SELECT w.word, n.label, n.score
FROM (VALUES ('paris'), ('rome')) AS w (word)
CROSS JOIN LATERAL hypercube.semantic_neighbors(w.word, 2) AS n;

SELECT * FROM hypercube.spatial_neighbors('whale', 5);

SELECT count(*) FROM hypercube.relation;

SELECT * FROM hypercube.health();
