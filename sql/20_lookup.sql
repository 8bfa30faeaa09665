-- Which model and which token are meant.  This is the path of every read, so
-- it runs without Python.


CREATE FUNCTION hypercube._find_model(model text)
    RETURNS hypercube.model
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model;
    wanted text := coalesce(model, nullif(current_setting('hypercube.model', true), ''));
    names text[];
BEGIN
    IF wanted IS NOT NULL THEN
        SELECT m.* INTO chosen FROM hypercube.model AS m WHERE m.name = wanted;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING
                ERRCODE = 'undefined_object',
                MESSAGE = format('model "%s" does not exist', wanted),
                HINT = 'List the loaded models with SELECT name FROM hypercube.model.';
        END IF;
        RETURN chosen;
    END IF;

    SELECT array_agg(m.name ORDER BY m.name) INTO names
    FROM (SELECT name FROM hypercube.model ORDER BY name LIMIT 10) AS m;
    IF names IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = 'no model is loaded',
            HINT = 'Load one with SELECT * FROM hypercube.ingest(''/folder/of/the/model'').';
    ELSIF cardinality(names) > 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = 'no model was named, and more than one is loaded',
            HINT = format(
                'Name one of %s with the argument model => ''...'' or with SET hypercube.model = ''...''.',
                array_to_string(names, ', '));
    END IF;
    SELECT m.* INTO chosen FROM hypercube.model AS m WHERE m.name = names[1];
    RETURN chosen;
END
$$;


CREATE FUNCTION hypercube._check_question(query text, k integer)
    RETURNS void
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most text := coalesce(nullif(current_setting('hypercube.max_k', true), ''), '1000');
BEGIN
    IF query IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the query must not be null',
            HINT = 'Give a word, for example ''whale''.';
    END IF;
    IF length(query) > 1000 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('a word has %s characters', length(query)),
            HINT = 'Ask for words of at most 1000 characters.';
    END IF;
    IF k IS NULL OR k < 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('k is out of range: %s', coalesce(k::text, 'null')),
            HINT = 'Ask for at least 1 row.';
    END IF;
    IF most !~ '^[0-9]{1,10}$' THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('hypercube.max_k is not a count: "%s"', most),
            HINT = 'SET hypercube.max_k = ''1000'' is the default.';
    END IF;
    IF k > most::bigint THEN
        RAISE EXCEPTION USING
            ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('%s rows were asked for, at most %s are allowed', k, most),
            HINT = format('SET hypercube.max_k = ''%s'' allows them for the session.', k);
    END IF;
    PERFORM hypercube._check_limit_of_k(k);
END
$$;


-- The first rule of _find_token by itself: a word that is spelled just as a label
-- of a word.  Most are, and the statement that calls it takes this in as its part.
CREATE FUNCTION hypercube._same_word(model_id integer, query text)
    RETURNS TABLE (token_id integer)
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    -- Of labels there are no statistics: with a condition on the kind in there, whoever is under row-level security
    -- would read the index of all words.
    SELECT first.token_id
    FROM (
        SELECT t.token_id, t.kind
        FROM hypercube.token AS t
        WHERE t.model_id = _same_word.model_id
          AND t.label = _same_word.query
          AND _same_word.query = ltrim(btrim(_same_word.query), '▁Ġ')
        ORDER BY t.kind <> 'word', t.usable DESC, t.token_id
        LIMIT 1
    ) AS first
    WHERE first.kind = 'word';
END;


-- Word-initial tokens come first, exact case before lower case, then later
-- parts of words.  A marker that tokenizers put in front of a word is ignored.
-- PL/pgSQL keeps the plan for the session; a function in SQL, called from
-- another one, would be planned at every call.
CREATE FUNCTION hypercube._find_token(model_id integer, query text)
    RETURNS integer
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    word text := coalesce(nullif(ltrim(btrim(query), '▁Ġ'), ''), query);
    token integer;
BEGIN
    -- What most words are, by itself.
    SELECT same.token_id INTO token FROM hypercube._same_word(_find_token.model_id, word) AS same;
    IF FOUND THEN
        RETURN token;
    END IF;
    -- A join, as the plan of "= ANY (four spellings)" would be made anew at every call.
    RETURN (
        SELECT t.token_id
        FROM unnest(ARRAY[word, lower(word), '##' || word, '##' || lower(word)]) AS spelled (label)
        JOIN hypercube.token AS t ON t.model_id = _find_token.model_id AND t.label = spelled.label
        ORDER BY
            CASE
                WHEN t.kind = 'word' AND t.label = lower(word) THEN 0
                WHEN t.label = word THEN 1
                WHEN t.label = '##' || word THEN 2
                ELSE 3
            END,
            t.usable DESC,
            t.token_id
        LIMIT 1
    );
END
$$;


CREATE FUNCTION hypercube.token_id(query text, model text DEFAULT NULL)
    RETURNS integer
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model := hypercube._find_model(model);
BEGIN
    RETURN hypercube._find_token(chosen.id, query);
END
$$;

COMMENT ON FUNCTION hypercube.token_id(text, text)
    IS 'the token that a word is, null where it is none or several: asks before a question would refuse';


CREATE VIEW hypercube.token_overview
    WITH (security_invoker = true)
AS
SELECT
    m.name AS model,
    t.token_id,
    t.label,
    t.piece,
    t.kind,
    t.usable,
    t.composition_id
FROM hypercube.token AS t
JOIN hypercube.model AS m ON m.id = t.model_id;

COMMENT ON VIEW hypercube.token_overview
    IS 'vocabularies with the name of their model';
COMMENT ON COLUMN hypercube.token_overview.model
    IS 'name of the model';
COMMENT ON COLUMN hypercube.token_overview.token_id
    IS 'number of the token, and of its row in the embedding';
COMMENT ON COLUMN hypercube.token_overview.label
    IS 'as a person reads it; a continuation is marked with ## in front';
COMMENT ON COLUMN hypercube.token_overview.piece
    IS 'as the tokenizer spells it';
COMMENT ON COLUMN hypercube.token_overview.kind
    IS 'word, continuation, byte, special or unused';
COMMENT ON COLUMN hypercube.token_overview.usable
    IS 'whether it has a vector with a direction, relations and a point';
COMMENT ON COLUMN hypercube.token_overview.composition_id
    IS 'which text it is';
