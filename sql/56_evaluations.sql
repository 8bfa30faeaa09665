CREATE FUNCTION hypercube.evaluate_analogies(
        questions text[], model text DEFAULT NULL, method text DEFAULT '3cosadd',
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT '{word}', letters_only boolean DEFAULT false)
    RETURNS TABLE (section text, asked integer, answered integer, correct integer, accuracy double precision)
    ROWS 20
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.evaluate_analogies(questions, model, method, label_like, kinds, letters_only)
$python$;

COMMENT ON FUNCTION hypercube.evaluate_analogies(
        text[], text, text, text, hypercube.token_kind[], boolean)
    IS 'how many analogies of a test a model answers right, section by section, from the lines of a text like questions-words.txt; the last row counts all';


CREATE FUNCTION hypercube.evaluate_analogies(
        questions text, model text DEFAULT NULL, method text DEFAULT '3cosadd',
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT '{word}', letters_only boolean DEFAULT false)
    RETURNS TABLE (section text, asked integer, answered integer, correct integer, accuracy double precision)
    ROWS 20
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT e.section, e.asked, e.answered, e.correct, e.accuracy
    FROM hypercube.evaluate_analogies(
        array_remove(ARRAY[evaluate_analogies.questions], NULL), evaluate_analogies.model, evaluate_analogies.method,
        evaluate_analogies.label_like, evaluate_analogies.kinds, evaluate_analogies.letters_only) AS e;
END;

COMMENT ON FUNCTION hypercube.evaluate_analogies(
        text, text, text, text, hypercube.token_kind[], boolean)
    IS 'how many analogies of a test a model answers right, from a whole text like questions-words.txt';


CREATE FUNCTION hypercube.evaluate_similarity(
        pairs text[], model text DEFAULT NULL, in_pieces boolean DEFAULT false)
    RETURNS TABLE (
        pairs integer, answered integer, coverage double precision, spearman double precision, pearson double precision)
    ROWS 1
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.evaluate_similarity(pairs, model, in_pieces)
$python$;

COMMENT ON FUNCTION hypercube.evaluate_similarity(text[], text, boolean)
    IS 'correlation of a model''s cosines with what people said of pairs of words, from the lines of a text like wordsim353.tsv';


CREATE FUNCTION hypercube.evaluate_similarity(
        pairs text, model text DEFAULT NULL, in_pieces boolean DEFAULT false)
    RETURNS TABLE (
        pairs integer, answered integer, coverage double precision, spearman double precision, pearson double precision)
    ROWS 1
    LANGUAGE sql
    STABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT e.pairs, e.answered, e.coverage, e.spearman, e.pearson
    FROM hypercube.evaluate_similarity(
        array_remove(ARRAY[evaluate_similarity.pairs], NULL), evaluate_similarity.model, evaluate_similarity.in_pieces) AS e;
END;

COMMENT ON FUNCTION hypercube.evaluate_similarity(text, text, boolean)
    IS 'correlation of a model''s cosines with what people said of pairs of words, from a whole text like wordsim353.tsv';
