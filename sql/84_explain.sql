-- Which way a question goes, without asking it.
CREATE FUNCTION hypercube.explain_question(
        question text, query text DEFAULT NULL, words text[] DEFAULT NULL, k integer DEFAULT NULL, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL,
        approximate boolean DEFAULT false, scope text DEFAULT 'sentence')
    RETURNS TABLE (step text, path text, reads text, "rows" bigint, bytes bigint, missing text)
    ROWS 6
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.explain_question(question, query, words, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate, scope)
$python$;

COMMENT ON FUNCTION hypercube.explain_question(
        text, text, text[], integer, text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean, text)
    IS 'which way a question goes, what it reads, and which index, file or statistics are missing; the question is not asked';
