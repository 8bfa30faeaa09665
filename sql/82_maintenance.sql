CREATE FUNCTION hypercube.maintain()
    RETURNS TABLE (step text, done bigint, seconds double precision, detail text)
    ROWS 10
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.maintain()
$python$;

COMMENT ON FUNCTION hypercube.maintain()
    IS 'does what has to be done from time to time, waits for nobody for long, and reports each step; a second call finds nothing to do';
