CREATE FUNCTION hypercube.seed_atoms()
    RETURNS integer
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.seed_atoms()
$python$;

COMMENT ON FUNCTION hypercube.seed_atoms()
    IS 'stores every Unicode scalar value with its point, returns how many were new; ingests store those that they need by themselves';


CREATE FUNCTION hypercube.atom_map_version()
    RETURNS integer
    LANGUAGE plpython3u
    IMMUTABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.atom_map_version()
$python$;

COMMENT ON FUNCTION hypercube.atom_map_version()
    IS 'version of the map from characters to points: equal versions give equal rows on every machine';


CREATE FUNCTION hypercube._hilbert_index(coordinates double precision[], is_point boolean)
    RETURNS bytea
    LANGUAGE plpython3u
    IMMUTABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.hilbert_index(coordinates, is_point)
$python$;


CREATE FUNCTION hypercube._hilbert_point(index bytea)
    RETURNS double precision[]
    LANGUAGE plpython3u
    IMMUTABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.hilbert_point(index)
$python$;


CREATE TYPE hypercube.hilbert_interval AS (
    first bytea,
    last bytea
);

COMMENT ON TYPE hypercube.hilbert_interval
    IS 'places along the Hilbert curve from the first to the last, both included';


CREATE FUNCTION hypercube._hilbert_range(low double precision[], high double precision[], ranges integer)
    RETURNS SETOF hypercube.hilbert_interval
    ROWS 16
    LANGUAGE plpython3u
    IMMUTABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.hilbert_range(low, high, ranges)
$python$;


SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('hypercube.with_cube'), true);

CREATE FUNCTION hypercube._coordinates(corner cube, lower boolean)
    RETURNS double precision[]
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN ARRAY(
    SELECT CASE WHEN _coordinates.lower THEN cube_ll_coord(_coordinates.corner, axis)
                ELSE cube_ur_coord(_coordinates.corner, axis) END
    FROM generate_series(1, cube_dim(_coordinates.corner)) AS axis
);


CREATE FUNCTION hypercube.hilbert_index(point cube)
    RETURNS bytea
    LANGUAGE sql
    IMMUTABLE
    PARALLEL UNSAFE
RETURN hypercube._hilbert_index(
    hypercube._coordinates(hilbert_index.point, true), cube_is_point(hilbert_index.point));

COMMENT ON FUNCTION hypercube.hilbert_index(cube)
    IS 'where a point of four coordinates lies along the Hilbert curve: 16 bytes whose order is that of the curve';


CREATE FUNCTION hypercube.hilbert_point(index bytea)
    RETURNS cube
    LANGUAGE sql
    IMMUTABLE
    PARALLEL UNSAFE
RETURN hypercube._point(hypercube._hilbert_point(hilbert_point.index));

COMMENT ON FUNCTION hypercube.hilbert_point(bytea)
    IS 'the centre of the cell at a place along the Hilbert curve';


CREATE FUNCTION hypercube.hilbert_range(box cube, ranges integer DEFAULT 16)
    RETURNS SETOF hypercube.hilbert_interval
    ROWS 16
    LANGUAGE sql
    IMMUTABLE
    PARALLEL UNSAFE
BEGIN ATOMIC
    SELECT r.first, r.last
    FROM hypercube._hilbert_range(
        hypercube._coordinates(hilbert_range.box, true), hypercube._coordinates(hilbert_range.box, false),
        hilbert_range.ranges) AS r;
END;

COMMENT ON FUNCTION hypercube.hilbert_range(cube, integer)
    IS 'the stretches of the Hilbert curve that hold every point of a box, at most that many: for an index on hilbert';


CREATE VIEW hypercube.atom_overview
    WITH (security_invoker = true)
AS
SELECT
    a.codepoint,
    CASE WHEN a.codepoint = 0 THEN U&'\2400' ELSE chr(a.codepoint) END AS character,
    cube_ll_coord(a.point, 1) AS x,
    cube_ll_coord(a.point, 2) AS y,
    cube_ll_coord(a.point, 3) AS z,
    cube_ll_coord(a.point, 4) AS w,
    a.id
FROM hypercube.atom AS a;

SET LOCAL search_path = pg_catalog, pg_temp;

COMMENT ON VIEW hypercube.atom_overview
    IS 'the stored characters with their points';
COMMENT ON COLUMN hypercube.atom_overview.codepoint
    IS 'number of the character in Unicode';
COMMENT ON COLUMN hypercube.atom_overview.character
    IS 'the character itself; U+2400 stands for the null character';
COMMENT ON COLUMN hypercube.atom_overview.x
    IS 'first coordinate of its point on the unit 3-sphere';
COMMENT ON COLUMN hypercube.atom_overview.y
    IS 'second coordinate';
COMMENT ON COLUMN hypercube.atom_overview.z
    IS 'third coordinate';
COMMENT ON COLUMN hypercube.atom_overview.w
    IS 'fourth coordinate';
COMMENT ON COLUMN hypercube.atom_overview.id
    IS 'BLAKE3 of its UTF-8';
