SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('hypercube.with_cube'), true);

-- cube may live in any schema; a function with a parsed body finds it once, at
-- creation, so that statements with a pinned search_path can name this instead.
CREATE FUNCTION hypercube._point(coordinates double precision[])
    RETURNS cube
    LANGUAGE sql
    IMMUTABLE
    STRICT
    PARALLEL SAFE
RETURN cube(_point.coordinates);


-- Whether a point is none of a map.
CREATE FUNCTION hypercube._off_the_map(point cube)
    RETURNS boolean
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN cube_dim(_off_the_map.point) <> 4
    OR NOT (cube_ll_coord(_off_the_map.point, 1) BETWEEN '-1'::double precision AND '1'::double precision)
    OR NOT (cube_ll_coord(_off_the_map.point, 2) BETWEEN '-1'::double precision AND '1'::double precision)
    OR NOT (cube_ll_coord(_off_the_map.point, 3) BETWEEN '-1'::double precision AND '1'::double precision)
    OR NOT (cube_ll_coord(_off_the_map.point, 4) BETWEEN '-1'::double precision AND '1'::double precision);


-- A point as a number that tells it from others, and that sums of are the same in any order.
CREATE FUNCTION hypercube._point_number(point cube)
    RETURNS bigint
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN cube_dim(_point_number.point)
    -- What is no place on a map, NaN included, counts as its edge.
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 1))) * '1e12'::double precision)::bigint
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 2))) * '3e12'::double precision)::bigint
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 3))) * '7e12'::double precision)::bigint
    + (greatest('-2'::double precision, least('2'::double precision, cube_ll_coord(_point_number.point, 4))) * '13e12'::double precision)::bigint;


-- The index gives the nearest in order; all that are as far as the last are taken, so that ties are broken
-- by token id.
CREATE FUNCTION hypercube._map_neighbors(model_id integer, model text, token_id integer, k integer)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE sql
    STABLE
    PARALLEL SAFE
BEGIN ATOMIC
    WITH near AS (
        SELECT n.token_id, n.distance
        FROM hypercube.projection AS o
        CROSS JOIN LATERAL (
            SELECT p.token_id, p.point <-> o.point AS distance
            FROM hypercube.projection AS p
            -- Not an equality: an index on model_id would be read for the whole model.
            WHERE p.model_id IS NOT DISTINCT FROM _map_neighbors.model_id AND p.token_id <> _map_neighbors.token_id
            ORDER BY p.point <-> o.point
            FETCH FIRST _map_neighbors.k ROWS WITH TIES
        ) AS n
        WHERE o.model_id = _map_neighbors.model_id AND o.token_id = _map_neighbors.token_id
        ORDER BY n.distance, n.token_id
        LIMIT _map_neighbors.k
    )
    SELECT
        (row_number() OVER (ORDER BY n.distance, n.token_id))::integer,
        t.label,
        n.distance::real,
        _map_neighbors.model,
        n.token_id,
        true
    FROM near AS n
    JOIN hypercube.token AS t ON t.model_id = _map_neighbors.model_id AND t.token_id = n.token_id
    ORDER BY n.distance, n.token_id;
END;


CREATE FUNCTION hypercube.spatial_neighbors(query text, k integer DEFAULT 10, model text DEFAULT NULL)
    RETURNS SETOF hypercube.answer
    ROWS 10
    LANGUAGE plpgsql
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen hypercube.model;
    token integer;
BEGIN
    PERFORM hypercube._charge();
    PERFORM hypercube._check_question(query, k);
    chosen := hypercube._find_model(model);
    token := hypercube._find_token(chosen.id, query);
    IF token IS NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'undefined_object',
            MESSAGE = format('"%s" is not a token of model "%s"', query, chosen.name),
            DETAIL = 'The map has a point for single tokens only.',
            HINT = 'Look for a spelling in hypercube.token_overview, or ask semantic_neighbors, which takes any word.';
    END IF;

    RETURN QUERY SELECT * FROM hypercube._map_neighbors(chosen.id, chosen.name, token, k);
    IF NOT FOUND THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = format('token %s of model "%s" has no neighbour on a map', token, chosen.name),
            HINT = format(
                'SELECT notes FROM hypercube.model_report(%L) says what was projected, and why not.', chosen.name);
    END IF;
END
$$;

COMMENT ON FUNCTION hypercube.spatial_neighbors(text, integer, text)
    IS 'the k tokens nearest on the four-dimensional map; score is the distance, so smaller is nearer';


CREATE VIEW hypercube.map
    WITH (security_invoker = true)
AS
SELECT
    m.name AS model,
    t.label,
    t.kind,
    cube_ll_coord(p.point, 1) AS x,
    cube_ll_coord(p.point, 2) AS y,
    cube_ll_coord(p.point, 3) AS z,
    cube_ll_coord(p.point, 4) AS w,
    p.token_id
FROM hypercube.projection AS p
JOIN hypercube.model AS m ON m.id = p.model_id
JOIN hypercube.token AS t ON t.model_id = p.model_id AND t.token_id = p.token_id;

SET LOCAL search_path = pg_catalog, pg_temp;

COMMENT ON VIEW hypercube.map
    IS 'the map of each model: four coordinates in -1 to 1 for each usable token';
COMMENT ON COLUMN hypercube.map.model
    IS 'name of the model';
COMMENT ON COLUMN hypercube.map.label
    IS 'of the token';
COMMENT ON COLUMN hypercube.map.kind
    IS 'word, continuation, byte, special or unused';
COMMENT ON COLUMN hypercube.map.x
    IS 'first coordinate, -1 to 1';
COMMENT ON COLUMN hypercube.map.y
    IS 'second coordinate';
COMMENT ON COLUMN hypercube.map.z
    IS 'third coordinate';
COMMENT ON COLUMN hypercube.map.w
    IS 'fourth coordinate';
COMMENT ON COLUMN hypercube.map.token_id
    IS 'number of the token';


CREATE FUNCTION hypercube.map_svg(
        model text DEFAULT NULL, highlight text[] DEFAULT '{}', axes integer[] DEFAULT '{1,2}',
        neighbors integer DEFAULT 10, zoom boolean DEFAULT false, width integer DEFAULT 1200, height integer DEFAULT 800)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.map_svg(model, highlight, axes, neighbors, zoom, width, height)
$python$;

COMMENT ON FUNCTION hypercube.map_svg(text, text[], integer[], integer, boolean, integer, integer)
    IS 'a picture of a map in SVG: two of its axes, some words highlighted with their stored neighbours; zoom shows these alone';
