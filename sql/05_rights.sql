-- What decides about a request runs with the rights of whoever makes it, under row-level security; what
-- carries it out runs in here.  The work is Python code of this extension that waits in the same session:
-- from SQL there is nothing to pass, and nothing waits.


CREATE FUNCTION hypercube._as_owner()
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SECURITY DEFINER
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.do_waiting()
$python$;


-- Sees what the statement around it sees, and can write nothing.
CREATE FUNCTION hypercube._read_as_owner()
    RETURNS void
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SECURITY DEFINER
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.do_waiting()
$python$;


-- For functions that write and are not Python: refused as the others are, before anything is computed.
CREATE FUNCTION hypercube._require_writable()
    RETURNS void
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.require_writable()
$python$;
