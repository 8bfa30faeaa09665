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

SELECT hypercube.similarity('king', 'queen');

SELECT * FROM hypercube.spatial_neighbors('whale', 5);

SELECT count(*) FROM hypercube.relation;

SELECT * FROM hypercube.health();
