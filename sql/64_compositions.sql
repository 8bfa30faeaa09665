CREATE FUNCTION hypercube.compose(content text)
    RETURNS bytea
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.compose(content)
$python$;

COMMENT ON FUNCTION hypercube.compose(text)
    IS 'stores a text as a composition of sentences, words and atoms, returns its id; it stays until drop_composition';


CREATE FUNCTION hypercube.compose(content bytea)
    RETURNS bytea
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.compose(content)
$python$;

COMMENT ON FUNCTION hypercube.compose(bytea)
    IS 'the same from UTF-8, which may hold the null character';


CREATE FUNCTION hypercube.composition_id(content text)
    RETURNS bytea
    LANGUAGE plpython3u
    IMMUTABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.composition_id(content)
$python$;

COMMENT ON FUNCTION hypercube.composition_id(text)
    IS 'the id that a text has as a composition, stored or not';


CREATE FUNCTION hypercube.drop_composition(composition bytea)
    RETURNS integer
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.drop_composition(composition)
$python$;

COMMENT ON FUNCTION hypercube.drop_composition(bytea)
    IS 'takes back compose, returns how many compositions the caller no longer sees';


CREATE FUNCTION hypercube.composition_text(composition bytea)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.composition_text(composition)
$python$;

COMMENT ON FUNCTION hypercube.composition_text(bytea)
    IS 'the text of a composition or atom, as it was stored';


CREATE FUNCTION hypercube.composition_bytes(composition bytea)
    RETURNS bytea
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.composition_bytes(composition)
$python$;

COMMENT ON FUNCTION hypercube.composition_bytes(bytea)
    IS 'the same as UTF-8, also where it holds the null character';


-- An atom is a composition of depth 0 to whoever asks about it.
CREATE FUNCTION hypercube._find_composition(id bytea)
    RETURNS hypercube.composition
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.composition;
BEGIN
    SELECT c.* INTO chosen FROM hypercube.composition AS c WHERE c.id = _find_composition.id;
    IF NOT FOUND THEN
        SELECT a.id, CASE WHEN a.codepoint = 0 THEN U&'\2400' ELSE chr(a.codepoint) END, 0, 0, 1, a.point, a.hilbert, ''
        INTO chosen
        FROM hypercube.atom AS a
        WHERE a.id = _find_composition.id;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('composition %s does not exist', coalesce(_find_composition.id::text, 'null')),
            HINT = 'Look it up with SELECT hypercube.find_composition(''...'').';
    END IF;
    RETURN chosen;
END
$$;


CREATE FUNCTION hypercube.find_composition(label text)
    RETURNS bytea
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN (
    SELECT c.id
    FROM hypercube.composition AS c
    WHERE c.label = find_composition.label
    ORDER BY c.atom_count <> length(find_composition.label), c.depth, c.id
    LIMIT 1
);

COMMENT ON FUNCTION hypercube.find_composition(text)
    IS 'the id of the stored composition with a label, null where there is none; composition_id tells it of a text of any length';


CREATE FUNCTION hypercube.children(composition bytea)
    RETURNS TABLE (ordinal integer, child_id bytea, label text, depth integer)
    ROWS 50
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        held.ordinal::integer - 1,
        held.id,
        coalesce(c.label, CASE WHEN a.codepoint = 0 THEN U&'\2400' ELSE chr(a.codepoint) END),
        coalesce(c.depth, 0)
    FROM hypercube._find_composition(children.composition) AS parent
    CROSS JOIN LATERAL unnest(hypercube._child_ids(parent.children)) WITH ORDINALITY AS held (id, ordinal)
    LEFT JOIN hypercube.composition AS c ON c.id = held.id
    LEFT JOIN hypercube.atom AS a ON a.id = held.id
    ORDER BY held.ordinal;
END;

COMMENT ON FUNCTION hypercube.children(bytea)
    IS 'what a composition is made of, in order from 0: compositions and atoms (depth 0)';


CREATE FUNCTION hypercube.parents(composition bytea)
    RETURNS TABLE (parent_id bytea, label text, depth integer, times integer)
    ROWS 50
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    child hypercube.composition := hypercube._find_composition(composition);
BEGIN
    RETURN QUERY
    SELECT p.id, p.label, p.depth, cardinality(array_positions(hypercube._child_ids(p.children), child.id))
    FROM hypercube.composition AS p
    WHERE p.depth > 1 AND hypercube._child_ids(p.children) OPERATOR(hypercube.@>) ARRAY[child.id]
    UNION ALL
    -- Words are not in the index by letter: an atom's are found by reading them.
    SELECT p.id, p.label, p.depth, cardinality(array_positions(hypercube._child_ids(p.children), child.id))
    FROM hypercube.composition AS p
    WHERE child.depth = 0 AND p.depth = 1 AND strpos(p.label, child.label) > 0
      AND child.id = ANY (hypercube._child_ids(p.children))
    ORDER BY 3, 2, 1;
END
$$;

COMMENT ON FUNCTION hypercube.parents(bytea)
    IS 'the compositions that hold a composition or atom as a child, and how many times';


CREATE FUNCTION hypercube.depth(composition bytea)
    RETURNS integer
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN (hypercube._find_composition(depth.composition)).depth;

COMMENT ON FUNCTION hypercube.depth(bytea)
    IS 'levels of a composition above its atoms';


SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('hypercube.with_cube'), true);

CREATE FUNCTION hypercube.centroid(composition bytea)
    RETURNS cube
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN (hypercube._find_composition(centroid.composition)).centroid;

COMMENT ON FUNCTION hypercube.centroid(bytea)
    IS 'mean of the points of the atoms of a composition';


CREATE FUNCTION hypercube.distance(a bytea, b bytea)
    RETURNS double precision
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN (hypercube._find_composition(distance.a)).centroid <-> (hypercube._find_composition(distance.b)).centroid;

COMMENT ON FUNCTION hypercube.distance(bytea, bytea)
    IS 'the Euclidean distance of the centroids of two compositions: about letters, not about meaning';


SET LOCAL search_path = pg_catalog, pg_temp;


CREATE FUNCTION hypercube.contains(composition bytea, part bytea)
    RETURNS boolean
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
RETURN (
    WITH RECURSIVE
    held (id, depth, children) AS (
        SELECT c.id, c.depth, c.children
        FROM hypercube._find_composition(contains.composition) AS c
        CROSS JOIN hypercube._find_composition(contains.part) AS p
        WHERE c.depth > p.depth
        UNION
        SELECT c.id, c.depth, c.children
        FROM held AS h
        CROSS JOIN LATERAL unnest(hypercube._child_ids(h.children)) AS child (id)
        JOIN hypercube.composition AS c ON c.id = child.id
    )
    SELECT coalesce(bool_or(contains.part = ANY (hypercube._child_ids(h.children))), false)
    FROM held AS h
);

COMMENT ON FUNCTION hypercube.contains(bytea, bytea)
    IS 'whether a composition is made of another composition or atom, at any depth';


CREATE TYPE hypercube.spelling AS (
    rank integer,
    label text,
    path double precision,
    centroid double precision,
    composition_id bytea
);

COMMENT ON TYPE hypercube.spelling
    IS 'a word that is spelled like another: path counts the changes between them, small ones in part; centroid is the distance of the mean points';


CREATE FUNCTION hypercube.orthographic_neighbors(query text, k integer DEFAULT 10)
    RETURNS SETOF hypercube.spelling
    ROWS 10
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.orthographic_neighbors(query, k)
$python$;

COMMENT ON FUNCTION hypercube.orthographic_neighbors(text, integer)
    IS 'the k stored words that are spelled most like a text: by path, then by label';
