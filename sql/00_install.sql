\echo Use "CREATE EXTENSION hypercube CASCADE" to load this file. \quit

-- Whoever owns the schema could later replace what is in it.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_catalog.pg_namespace AS n
        JOIN pg_catalog.pg_roles AS owner ON owner.oid = n.nspowner
        WHERE n.nspname = 'hypercube' AND NOT owner.rolsuper AND owner.rolname <> current_user
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'schema "hypercube" exists already and belongs to another role',
            HINT = 'Drop it with DROP SCHEMA hypercube, then create the extension again.';
    ELSIF EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = 'hypercube'::regnamespace)
       OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = 'hypercube'::regnamespace)
       OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = 'hypercube'::regnamespace)
       OR EXISTS (SELECT FROM pg_catalog.pg_operator WHERE oprnamespace = 'hypercube'::regnamespace)
    THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'schema "hypercube" exists already and is not empty',
            HINT = 'See what it holds, drop it with DROP SCHEMA hypercube CASCADE, then create the extension again.';
    END IF;
END
$$;


-- PL/Python's validator does not import anything: without this an extension
-- whose packages are missing would be created and fail at its first use.
DO LANGUAGE plpython3u $python$
import importlib
import sys

missing = []
for name in ("hypercube", "numpy", "scipy", "safetensors", "blake3", "ml_dtypes", "tokenizers"):
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
if missing:
    plpy.error(
        "PL/Python cannot import " + ", ".join(missing),
        sqlstate="58P01",
        detail="The interpreter is Python %d.%d of %s." % (*sys.version_info[:2], sys.prefix),
        hint="Run make install, or scripts/install-python, as root in the folder of hypercube,"
        " then connect again.",
    )
$python$;
