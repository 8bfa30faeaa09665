CREATE FUNCTION hypercube.nearest(vector real[], k integer DEFAULT 10, model text DEFAULT NULL)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.nearest(vector, k, model)
$python$;

COMMENT ON FUNCTION hypercube.nearest(real[], integer, text)
    IS 'the k tokens whose embeddings have the greatest cosine with a vector; an exact scan';


CREATE FUNCTION hypercube.most_similar(
        positive text[], negative text[] DEFAULT '{}', k integer DEFAULT 10, model text DEFAULT NULL)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.most_similar(positive, negative, k, model)
$python$;

COMMENT ON FUNCTION hypercube.most_similar(text[], text[], integer, text)
    IS 'the k tokens nearest to the sum of unit vectors of some words minus those of others; the words themselves are left out';


CREATE FUNCTION hypercube.analogy(
        a text, b text, c text, k integer DEFAULT 10, model text DEFAULT NULL, method text DEFAULT '3cosadd')
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.analogy(a, b, c, k, model, method)
$python$;

COMMENT ON FUNCTION hypercube.analogy(text, text, text, integer, text, text)
    IS 'a is to b as c is to what: the k best tokens by 3CosAdd or 3CosMul in the full dimension, a, b and c left out';


CREATE FUNCTION hypercube.similarity(a text, b text, model text DEFAULT NULL)
    RETURNS real
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.similarity(a, b, model)
$python$;

COMMENT ON FUNCTION hypercube.similarity(text, text, text)
    IS 'cosine of the embeddings of two words';


CREATE FUNCTION hypercube.embedding(query text, model text DEFAULT NULL)
    RETURNS real[]
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.embedding(query, model)
$python$;

COMMENT ON FUNCTION hypercube.embedding(text, text)
    IS 'the vector of a word as the model holds it; the mean of its pieces when it is several tokens';
