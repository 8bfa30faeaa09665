-- Sent by scripts/demo, which sets :models and :book (folders) and :installed (whether the extension is there).
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

\set ECHO none
SELECT count(*) = 0 AS to_store FROM hypercube.document \gset
\if :to_store
\set chapters `awk 'BEGIN { print "[" } NR > 1 { print "," } 1; END { print "]" }' :'book'/*.json`
CREATE TEMPORARY TABLE chapter AS
SELECT (content ->> 'chapter')::integer AS number, content ->> 'title' AS title, content ->> 'text' AS body
FROM jsonb_array_elements(:'chapters') AS content;
\set ECHO queries
SELECT sum(sentences) AS sentences, sum(tokens) AS tokens, max(seconds) AS seconds
FROM hypercube.ingest_texts(
    (SELECT array_agg('Moby-Dick, chapter ' || number ORDER BY number) FROM chapter),
    (SELECT array_agg(body ORDER BY number) FROM chapter));
\endif
\set ECHO queries

SELECT rank, score, document, left(text, 80) AS text FROM hypercube.search('a huge white sea creature', 5);

SELECT rank, document, left(passage, 80) AS passage FROM hypercube.ask('why does Ahab hate the whale?');

SELECT label, count, pmi FROM hypercube.continuations('white', 5);

SELECT * FROM hypercube.tokenize('The harpooneers of Nantucket', 'minilm');

SELECT label, path FROM hypercube.orthographic_neighbors('Nantuket', 3);

\set ECHO none
SELECT to_regrole('demo_reader') IS NULL AS to_make \gset
\if :to_make
\set ECHO queries
CREATE ROLE demo_reader IN ROLE hypercube_reader;
\endif
\set ECHO queries

SET ROLE demo_reader;
SELECT count(*) AS models_of_a_stranger FROM hypercube.model;
RESET ROLE;
SELECT hypercube.grant_model('minilm', 'demo_reader');
SET ROLE demo_reader;
SELECT label, score FROM hypercube.semantic_neighbors('whale', 2, 'minilm');
SELECT count(*) AS documents_of_a_stranger FROM hypercube.document;
RESET ROLE;
SELECT hypercube.revoke_model('minilm', 'demo_reader');

SELECT role, operation, kind, objects ->> 0 AS first_of, outcome FROM hypercube.audit_log ORDER BY id DESC LIMIT 4;

SELECT ok, first_bad, problem FROM hypercube.audit_verify();

SELECT step, path, "rows", missing FROM hypercube.explain_question('analogy', words => '{man,king,woman}', k => 5);

SELECT step, done, detail FROM hypercube.maintain();

SELECT name, labels, value FROM hypercube.metrics('stored') WHERE name ~ '(models|tokens|coverage)';

SELECT * FROM hypercube.health();
