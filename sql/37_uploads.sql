CREATE FUNCTION hypercube.upload_begin(name text, path text)
    RETURNS uuid
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.upload_begin(name, path)
$python$;

COMMENT ON FUNCTION hypercube.upload_begin(text, text)
    IS 'begins the upload of one file of a model, or goes on with it, and returns its id; uploads untouched for a day are removed';


CREATE FUNCTION hypercube.upload_part(id uuid, ordinal integer, data bytea)
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.upload_part(id, ordinal, data)
$python$;

COMMENT ON FUNCTION hypercube.upload_part(uuid, integer, bytea)
    IS 'stores one part of a file, counted from 0, at most 16 MiB; parts come in any order, and again';


CREATE FUNCTION hypercube.upload_finish(id uuid, digest bytea)
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.upload_finish(id, digest)
$python$;

COMMENT ON FUNCTION hypercube.upload_finish(uuid, bytea)
    IS 'checks that a file is whole and has this BLAKE3 digest, returns how many bytes it has';


CREATE FUNCTION hypercube.upload_cancel(name text)
    RETURNS bigint
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.upload_cancel(name)
$python$;

COMMENT ON FUNCTION hypercube.upload_cancel(text)
    IS 'removes the uploaded files of a model that was not ingested, returns how many there were';


CREATE FUNCTION hypercube.ingest_upload(
        name text, neighbors integer DEFAULT 16, store text DEFAULT 'all', tokenizer text DEFAULT NULL)
    RETURNS SETOF hypercube.ingest_report
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import api
return api.ingest_upload(name, neighbors, store, tokenizer)
$python$;

COMMENT ON FUNCTION hypercube.ingest_upload(text, integer, text, text)
    IS 'ingests the model whose files were uploaded, and removes the uploads';
