CREATE FUNCTION hypercube.verify_model(model text DEFAULT NULL)
    RETURNS TABLE (kind text, name text, ok boolean, detail text)
    ROWS 100
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.verify_model(model)
$python$;

COMMENT ON FUNCTION hypercube.verify_model(text)
    IS 'recomputes every digest of a model and says for each tensor and file whether its bytes are those that were ingested';


CREATE FUNCTION hypercube.allow_target(path text, role text DEFAULT 'hypercube_ingest')
    RETURNS text
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.allow_target(path, role)
$python$;

COMMENT ON FUNCTION hypercube.allow_target(text, text)
    IS 'lets the members of a role export models into a folder of the server, returns the folder with symbolic links resolved; for superusers and members of pg_write_server_files';


CREATE FUNCTION hypercube.disallow_target(path text, role text DEFAULT NULL)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.disallow_target(path, role)
$python$;

COMMENT ON FUNCTION hypercube.disallow_target(text, text)
    IS 'takes back allow_target, for one role or for all, returns whether the folder was allowed';


CREATE FUNCTION hypercube.export_model(model text, directory text)
    RETURNS TABLE (path text, bytes bigint, sha256 text)
    ROWS 10
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.export_model(model, directory)
$python$;

COMMENT ON FUNCTION hypercube.export_model(text, text)
    IS 'writes the files of a model byte for byte into an allowed folder of the server, checking every digest on the way; for its owner and superusers';


CREATE FUNCTION hypercube.model_diff(a text, b text)
    RETURNS TABLE (
        tensor text, change text, changed_share double precision, relative_l2 double precision,
        cosine double precision)
    ROWS 100
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.model_diff(a, b)
$python$;

COMMENT ON FUNCTION hypercube.model_diff(text, text)
    IS 'compares two models tensor by tensor: equal, changed, converted, reshaped, added or removed, and how much';
