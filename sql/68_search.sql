CREATE FUNCTION hypercube.embed(content text, model text DEFAULT NULL, method text DEFAULT NULL)
    RETURNS real[]
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.embed(content, model, method)
$python$;

COMMENT ON FUNCTION hypercube.embed(text, text, text)
    IS 'the vector of a text, of length 1: by the sentence encoder that the model is, or as the mean of its token vectors weighted by smooth inverse frequency';


CREATE FUNCTION hypercube.embed_documents(model text DEFAULT NULL)
    RETURNS integer
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.embed_documents(model)
$python$;

COMMENT ON FUNCTION hypercube.embed_documents(text)
    IS 'computes the vectors of sentences that were stored without, returns how many';


CREATE TYPE hypercube.passage AS (
    rank integer,
    score real,
    document text,
    sentence integer,
    start integer,
    text text,
    highlighted text,
    exact boolean
);

COMMENT ON TYPE hypercube.passage
    IS 'one row of a ranked search: which sentence (null for a whole document) of which document, at which character it begins, its text, and the same with the words found marked';


CREATE FUNCTION hypercube.search(query text, k integer DEFAULT 10, model text DEFAULT NULL, scope text DEFAULT 'sentence')
    RETURNS SETOF hypercube.passage
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.search(query, k, model, scope)
$python$;

COMMENT ON FUNCTION hypercube.search(text, integer, text, text)
    IS 'the k sentences (or documents) whose meaning is nearest to that of a text, by cosine, over all of them';


CREATE FUNCTION hypercube._check_search(query text, k integer, scope text)
    RETURNS void
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF query IS NULL OR btrim(query) = '' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the query is empty',
            HINT = 'Give a sentence, or a few words.';
    END IF;
    IF length(query) > 10000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('the query has %s characters', length(query)),
            HINT = 'Ask with at most 10000 characters.';
    END IF;
    PERFORM hypercube._check_question(left(query, 1000), k);
    IF scope IS NULL OR scope NOT IN ('sentence', 'document') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('scope "%s" is not known', coalesce(scope, 'null')),
            HINT = 'Use ''sentence'' or ''document''.';
    END IF;
END
$$;


-- Null for a text search configuration that is gone, or that is not for the caller: that is no reason to
-- find nothing in the other languages.
CREATE FUNCTION hypercube._config(language text)
    RETURNS regconfig
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN (
    SELECT c.oid::regconfig
    FROM pg_ts_config AS c
    JOIN pg_namespace AS n ON n.oid = c.cfgnamespace
    WHERE has_schema_privilege(n.oid, 'USAGE')
      AND CASE n.nspname WHEN 'pg_catalog' THEN c.cfgname::text ELSE format('%I.%I', n.nspname, c.cfgname) END = _config.language
);


-- Any of the words instead of all of them, for questions; silent about a question of stop words alone.
CREATE FUNCTION hypercube._any_word(config regconfig, query text)
    RETURNS tsquery
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET client_min_messages = warning
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked tsquery := plainto_tsquery(config, query);
BEGIN
    RETURN CASE WHEN numnode(asked) = 0 THEN asked ELSE replace(asked::text, ' & ', ' | ')::tsquery END;
END
$$;


CREATE FUNCTION hypercube._matching(query text, k integer, scope text, any_word boolean)
    RETURNS TABLE (score real, document_id integer, ordinal integer, asked tsquery, config regconfig)
    ROWS 10
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    WITH asked AS (
        SELECT
            l.language,
            l.config,
            CASE
                WHEN _matching.any_word THEN hypercube._any_word(l.config, _matching.query)
                ELSE websearch_to_tsquery(l.config, _matching.query)
            END AS words
        FROM (
            SELECT x.language, hypercube._config(x.language) AS config
            FROM (SELECT DISTINCT d.language FROM hypercube.document AS d) AS x
        ) AS l
        WHERE l.config IS NOT NULL
    )
    SELECT f.score, f.document_id, f.ordinal, f.asked, f.config
    FROM (
        SELECT ts_rank_cd(x.words, a.words, 1) AS score, s.document_id, s.ordinal, a.words AS asked, a.config, d.name
        FROM asked AS a
        JOIN hypercube.sentence_search AS x ON x.words OPERATOR(hypercube.@@) a.words AND x.language = a.language
        JOIN hypercube.sentence AS s ON s.composition_id = x.composition_id
        JOIN hypercube.document AS d ON d.id = s.document_id AND d.language = a.language
        WHERE _matching.scope = 'sentence'
        UNION ALL
        SELECT ts_rank_cd(d.words, a.words, 1), d.id, NULL, a.words, a.config, d.name
        FROM asked AS a
        JOIN hypercube.document AS d ON d.words OPERATOR(hypercube.@@) a.words AND d.language = a.language
        WHERE _matching.scope = 'document'
    ) AS f
    ORDER BY f.score DESC, f.name, f.ordinal
    LIMIT _matching.k;
END;


CREATE FUNCTION hypercube.search_text(query text, k integer DEFAULT 10, scope text DEFAULT 'sentence')
    RETURNS SETOF hypercube.passage
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._charge();
    PERFORM hypercube._check_search(query, k, scope);
    RETURN QUERY
    SELECT
        (row_number() OVER (ORDER BY f.score DESC, d.name, f.ordinal))::integer,
        f.score,
        d.name,
        f.ordinal,
        coalesce(s.start, 0),
        t.text,
        CASE scope
            WHEN 'sentence' THEN ts_headline(f.config, t.text, f.asked, 'HighlightAll=true')
            ELSE ts_headline(f.config, whole.text, f.asked, 'MaxFragments=3, MaxWords=30, MinWords=10')
        END,
        true
    FROM hypercube._matching(query, k, scope, false) AS f
    JOIN hypercube.document AS d ON d.id = f.document_id
    LEFT JOIN hypercube.sentence AS s ON s.document_id = f.document_id AND s.ordinal = f.ordinal
    CROSS JOIN LATERAL (
        SELECT rtrim(c.label, E' \t\r\n') AS text FROM hypercube.composition AS c
        -- Not COALESCE: PostgreSQL would ask the policy of every row before it.
        WHERE c.id = CASE WHEN s.composition_id IS NULL THEN d.composition_id ELSE s.composition_id END
    ) AS t
    LEFT JOIN LATERAL (
        SELECT string_agg(c.label, '' ORDER BY o.ordinal) AS text
        FROM hypercube.sentence AS o
        JOIN hypercube.composition AS c ON c.id = o.composition_id
        WHERE scope = 'document' AND o.document_id = d.id
    ) AS whole ON true
    ORDER BY 1;
END
$$;

COMMENT ON FUNCTION hypercube.search_text(text, integer, text)
    IS 'the k sentences (or documents) that hold the words of a query, as web search engines read it: "phrase", or, -without; ranked by PostgreSQL''s cover density';


CREATE TYPE hypercube.found_passage AS (
    rank integer,
    score real,
    document text,
    sentence integer,
    start integer,
    passage text,
    meaning real,
    words real
);

COMMENT ON TYPE hypercube.found_passage
    IS 'a passage found by meaning, by words, or by both: the score is that of reciprocal rank fusion, meaning the cosine, words the rank of full-text search, each null where it was not among the best';


CREATE FUNCTION hypercube._search_if_possible(query text, k integer, model text)
    RETURNS SETOF hypercube.passage
    ROWS 100
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.search_if_possible(query, k, model)
$python$;


-- Cormack, Clarke and Buettcher (SIGIR 2009): the sum of 1 / (60 + rank) over both lists.
CREATE FUNCTION hypercube._fused(query text, k integer, model text, any_word boolean)
    RETURNS SETOF hypercube.found_passage
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    reach integer := least(
        greatest(100, k), coalesce(nullif(current_setting('hypercube.max_k', true), ''), '1000')::bigint,
        hypercube._limit_of_caller('k'));
    -- Ahead of the join: a plan that needs no row of it would not ask, and not refuse a model that is not there.
    near hypercube.passage[] := ARRAY(SELECT m FROM hypercube._search_if_possible(query, reach, model) AS m);
BEGIN
    RETURN QUERY
    WITH by_meaning AS (
        SELECT m.rank, m.score, m.document, m.sentence FROM unnest(near) AS m
    ),
    by_words AS (
        SELECT
            row_number() OVER (ORDER BY f.score DESC, d.name, f.ordinal) AS rank,
            f.score, d.name AS document, f.ordinal AS sentence
        FROM hypercube._matching(query, reach, 'sentence', any_word) AS f
        JOIN hypercube.document AS d ON d.id = f.document_id
    ),
    best AS (
        SELECT
            coalesce(1.0 / (60 + m.rank), 0) + coalesce(1.0 / (60 + w.rank), 0) AS score,
            document, sentence, m.score AS meaning, w.score AS words
        FROM by_meaning AS m
        FULL JOIN by_words AS w USING (document, sentence)
        ORDER BY 1 DESC, m.score DESC NULLS LAST, document, sentence
        LIMIT k
    )
    SELECT
        (row_number() OVER (ORDER BY b.score DESC, b.meaning DESC NULLS LAST, b.document, b.sentence))::integer,
        b.score::real,
        b.document,
        b.sentence,
        s.start,
        coalesce(
            ts_headline(
                l.config, rtrim(c.label, E' \t\r\n'),
                hypercube._any_word(l.config, query), 'HighlightAll=true'),
            rtrim(c.label, E' \t\r\n')),
        b.meaning,
        b.words
    FROM best AS b
    JOIN hypercube.document AS d ON d.name = b.document
    JOIN hypercube.sentence AS s ON s.document_id = d.id AND s.ordinal = b.sentence
    JOIN hypercube.composition AS c ON c.id = s.composition_id
    CROSS JOIN LATERAL (SELECT hypercube._config(d.language) AS config) AS l
    ORDER BY 1;
END
$$;


CREATE FUNCTION hypercube.hybrid_search(query text, k integer DEFAULT 10, model text DEFAULT NULL)
    RETURNS SETOF hypercube.found_passage
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._check_search(query, k, 'sentence');
    RETURN QUERY SELECT * FROM hypercube._fused(query, k, model, false);
END
$$;

COMMENT ON FUNCTION hypercube.hybrid_search(text, integer, text)
    IS 'the k sentences best by meaning and by words together: reciprocal rank fusion of search and search_text';


CREATE FUNCTION hypercube.ask(question text, k integer DEFAULT 5, model text DEFAULT NULL)
    RETURNS SETOF hypercube.found_passage
    ROWS 5
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._check_search(question, k, 'sentence');
    RETURN QUERY SELECT * FROM hypercube._fused(question, k, model, true);
END
$$;

COMMENT ON FUNCTION hypercube.ask(text, integer, text)
    IS 'the k stored sentences that answer a question best, by meaning and by any of its words; nothing is made up';
