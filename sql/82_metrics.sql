-- Numbers for a monitoring system: about everything, and without a name of a model, a document or a person.


CREATE FUNCTION hypercube.metrics(part text DEFAULT NULL)
    RETURNS TABLE (name text, kind text, help text, labels jsonb, value double precision)
    ROWS 200
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.metrics(part)
$python$;

COMMENT ON FUNCTION hypercube.metrics(text)
    IS 'counters, gauges and histograms of the server, all or those of a part: calls, stored, audit, backups, server, health';


CREATE FUNCTION hypercube.metrics_text(part text DEFAULT NULL)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.metrics_text(part)
$python$;

COMMENT ON FUNCTION hypercube.metrics_text(text)
    IS 'the same in the text format of Prometheus';


-- Who watches the server need not be able to ask a model anything.
GRANT USAGE ON SCHEMA hypercube TO hypercube_monitor;
GRANT EXECUTE ON FUNCTION hypercube._read_as_owner() TO hypercube_monitor;
GRANT EXECUTE ON FUNCTION hypercube.metrics(text), hypercube.metrics_text(text) TO hypercube_monitor, hypercube_admin;
GRANT SELECT ON hypercube.backup_record TO hypercube_monitor, hypercube_admin;
