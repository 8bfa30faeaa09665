-- Columns cross from Python as arrays.
CREATE TYPE hypercube._tokens AS (
    token_id integer[],
    piece text[],
    label text[],
    start integer[],
    "end" integer[]
);


CREATE FUNCTION hypercube._tokenize(content text, model text, special_tokens boolean)
    RETURNS hypercube._tokens
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.tokenize(content, model, special_tokens)
$python$;


CREATE FUNCTION hypercube.tokenize(content text, model text DEFAULT NULL, special_tokens boolean DEFAULT false)
    RETURNS TABLE (ordinal integer, token_id integer, piece text, label text, start integer, "end" integer)
    ROWS 100
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT t.ordinal::integer, t.token_id, t.piece, t.label, t.start, t."end"
    FROM hypercube._tokenize(tokenize.content, tokenize.model, tokenize.special_tokens) AS found
    CROSS JOIN LATERAL unnest(found.token_id, found.piece, found.label, found.start, found."end")
        WITH ORDINALITY AS t (token_id, piece, label, start, "end", ordinal)
    ORDER BY t.ordinal;
END;

COMMENT ON FUNCTION hypercube.tokenize(text, text, boolean)
    IS 'a text in the tokens of a model, with the characters from start to before end that each stands for; on request with the tokens that the model adds';


CREATE FUNCTION hypercube.count_tokens(content text, model text DEFAULT NULL, special_tokens boolean DEFAULT false)
    RETURNS integer
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.count_tokens(content, model, special_tokens)
$python$;

COMMENT ON FUNCTION hypercube.count_tokens(text, text, boolean)
    IS 'how many tokens of a model a text is';


CREATE FUNCTION hypercube.detokenize(ids integer[], model text DEFAULT NULL, skip_special_tokens boolean DEFAULT true)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.detokenize(ids, model, skip_special_tokens)
$python$;

COMMENT ON FUNCTION hypercube.detokenize(integer[], text, boolean)
    IS 'the text that tokens of a model stand for';
