\echo Use "CREATE EXTENSION hypercube CASCADE" to load this file. \quit

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
