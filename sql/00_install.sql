\echo Use "CREATE EXTENSION hypercube CASCADE" to load this file. \quit

-- Whoever may create objects in the schema of cube could plant there what matches better than the server's own
-- functions, and a body that is parsed now would call it ever after.
SET LOCAL search_path = pg_catalog, pg_temp;

-- For the few statements that need cube, which may live in any schema.  In these every argument has just the
-- type that is declared, so that nothing can match better.
SELECT pg_catalog.set_config('hypercube.with_cube', pg_catalog.format('pg_catalog, %I, pg_temp', n.nspname), true)
FROM pg_catalog.pg_extension AS e
JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
WHERE e.extname = 'cube';


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

import hypercube

wanted = plpy.execute("SELECT extversion AS version FROM pg_extension WHERE extname = 'hypercube'")[0]["version"]
if hypercube.__version__ != wanted:
    plpy.error(
        f"this session has the Python package hypercube {hypercube.__version__}, the extension has version {wanted}",
        sqlstate="55000",
        hint="Run make install in the folder of that version of hypercube, connect again and create it then.",
    )
$python$;


-- The roles that rights are given to.  They belong to the cluster: other databases may have the extension
-- too, and they stay when it is dropped.
DO $$
BEGIN
    IF EXISTS (
        SELECT
        FROM pg_catalog.pg_roles
        WHERE rolname IN ('hypercube_reader', 'hypercube_ingest', 'hypercube_auditor', 'hypercube_monitor', 'hypercube_admin')
          AND (rolcanlogin OR rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication)
    ) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'object_not_in_prerequisite_state',
            MESSAGE = 'a role "hypercube_..." exists already and may do more than such a role should',
            HINT = 'ALTER ROLE ... NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION, or rename it.';
    END IF;
    IF pg_catalog.to_regrole('hypercube_reader') IS NULL THEN
        CREATE ROLE hypercube_reader NOLOGIN;
    END IF;
    IF pg_catalog.to_regrole('hypercube_ingest') IS NULL THEN
        CREATE ROLE hypercube_ingest NOLOGIN;
    END IF;
    IF pg_catalog.to_regrole('hypercube_auditor') IS NULL THEN
        CREATE ROLE hypercube_auditor NOLOGIN;
    END IF;
    IF pg_catalog.to_regrole('hypercube_monitor') IS NULL THEN
        CREATE ROLE hypercube_monitor NOLOGIN;
    END IF;
    IF pg_catalog.to_regrole('hypercube_admin') IS NULL THEN
        CREATE ROLE hypercube_admin NOLOGIN;
    END IF;
END
$$;

-- Who brings models may ask them, who administers may do both.  Whoever watches over them, or over the server,
-- is apart.
GRANT hypercube_reader TO hypercube_ingest;
GRANT hypercube_ingest TO hypercube_admin;
