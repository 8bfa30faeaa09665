CREATE FUNCTION hypercube.nearest(
        vector real[], k integer DEFAULT 10, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        minimum_score double precision DEFAULT NULL, approximate boolean DEFAULT false)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.nearest(vector, k, model, label_like, kinds, letters_only, minimum_score, approximate)
$python$;

COMMENT ON FUNCTION hypercube.nearest(real[], integer, text, text, hypercube.token_kind[], boolean, double precision, boolean)
    IS 'the k tokens whose embeddings have the greatest cosine with a vector';


CREATE FUNCTION hypercube.most_similar(
        positive text[], negative text[] DEFAULT '{}', k integer DEFAULT 10, model text DEFAULT NULL,
        positive_weights double precision[] DEFAULT NULL, negative_weights double precision[] DEFAULT NULL, method text DEFAULT '3cosadd',
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL, approximate boolean DEFAULT false)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.most_similar(positive, negative, k, model, positive_weights, negative_weights, method, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
$python$;

COMMENT ON FUNCTION hypercube.most_similar(
        text[], text[], integer, text, double precision[], double precision[], text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean)
    IS 'the k tokens nearest to the weighted sum of unit vectors of some words minus those of others; the words themselves are left out';


CREATE FUNCTION hypercube.analogy(
        a text, b text, c text, k integer DEFAULT 10, model text DEFAULT NULL, method text DEFAULT '3cosadd',
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL, approximate boolean DEFAULT false)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.analogy(a, b, c, k, model, method, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
$python$;

COMMENT ON FUNCTION hypercube.analogy(
        text, text, text, integer, text, text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean)
    IS 'a is to b as c is to what: the k best tokens by 3CosAdd or 3CosMul in the full dimension, a, b and c left out';


CREATE FUNCTION hypercube.midpoint(
        a text, b text, k integer DEFAULT 10, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL, approximate boolean DEFAULT false)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.midpoint(a, b, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score, approximate)
$python$;

COMMENT ON FUNCTION hypercube.midpoint(
        text, text, integer, text, text, hypercube.token_kind[], boolean, boolean, double precision, boolean)
    IS 'the k tokens nearest to the middle between two words, the words themselves left out';


CREATE FUNCTION hypercube.similarity(a text, b text, model text DEFAULT NULL)
    RETURNS real
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.similarity(a, b, model)
$python$;

COMMENT ON FUNCTION hypercube.similarity(text, text, text)
    IS 'cosine of the embeddings of two words';


CREATE FUNCTION hypercube.similarity(a text[], b text[], model text DEFAULT NULL)
    RETURNS real
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.set_similarity(a, b, model)
$python$;

COMMENT ON FUNCTION hypercube.similarity(text[], text[], text)
    IS 'cosine of the mean vectors of two lists of words';


CREATE FUNCTION hypercube.rank_of(a text, b text, model text DEFAULT NULL)
    RETURNS integer
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.rank_of(a, b, model)
$python$;

COMMENT ON FUNCTION hypercube.rank_of(text, text, text)
    IS 'the place of word b among the neighbours of word a, from 1';


CREATE FUNCTION hypercube.closer_than(
        a text, b text, k integer DEFAULT NULL, model text DEFAULT NULL,
        label_like text DEFAULT NULL, kinds hypercube.token_kind[] DEFAULT NULL, letters_only boolean DEFAULT false,
        exclude_variants boolean DEFAULT false, minimum_score double precision DEFAULT NULL)
    RETURNS SETOF hypercube.answer
    ROWS 100
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.closer_than(a, b, k, model, label_like, kinds, letters_only, exclude_variants, minimum_score)
$python$;

COMMENT ON FUNCTION hypercube.closer_than(
        text, text, integer, text, text, hypercube.token_kind[], boolean, boolean, double precision)
    IS 'the tokens nearer to word a than word b is, best first; all of them where k is null';


CREATE FUNCTION hypercube.odd_one_out(words text[], model text DEFAULT NULL)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.odd_one_out(words, model)
$python$;

COMMENT ON FUNCTION hypercube.odd_one_out(text[], text)
    IS 'the word that is farthest from the centroid of all of them';


CREATE FUNCTION hypercube.rank_by_centrality(words text[], model text DEFAULT NULL)
    RETURNS TABLE (rank integer, word text, score real)
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.rank_by_centrality(words, model)
$python$;

COMMENT ON FUNCTION hypercube.rank_by_centrality(text[], text)
    IS 'words by their cosine with the centroid of all of them, best first';


CREATE FUNCTION hypercube.centroid(words text[], model text DEFAULT NULL)
    RETURNS real[]
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.centroid(words, model)
$python$;

COMMENT ON FUNCTION hypercube.centroid(text[], text)
    IS 'the mean of the unit vectors of words';


CREATE FUNCTION hypercube.embedding(query text, model text DEFAULT NULL)
    RETURNS real[]
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.embedding(query, model)
$python$;

COMMENT ON FUNCTION hypercube.embedding(text, text)
    IS 'the vector of a word as the model holds it; the mean of its pieces when it is several tokens';


CREATE FUNCTION hypercube.warm(model text DEFAULT NULL)
    RETURNS bigint
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.warm(model)
$python$;

COMMENT ON FUNCTION hypercube.warm(text)
    IS 'prepares a session for exact questions: loads numpy and maps the matrix of a model, which is made where it is missing; returns its bytes';


-- Sees every model, whoever asks, so that nobody's files are taken for leftovers.
CREATE FUNCTION hypercube._sweep_matrices()
    RETURNS integer
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.sweep_matrices()
$python$;
