"""hypercube: AI models inside PostgreSQL, asked in SQL.

This is the Python half of the extension.  ``api`` holds one function for each
PL/Python SQL function; imports point downward only (doc/design.md).
"""

import os

__version__ = "0.2.0"

# One BLAS thread a session: results then do not depend on the number of cores,
# and many sessions do not fight for them.  The rooms that may use every core
# run tiles on threads of their own.  It has to be said before numpy is imported.
for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# The tokenizers library would start a thread pool and warn about forks.
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
