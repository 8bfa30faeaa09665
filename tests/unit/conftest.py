"""What every unit test has: numpy as a session has it."""

# Before any test imports numpy: hypercube allows BLAS one thread, as in the server.
import hypercube  # noqa: F401
