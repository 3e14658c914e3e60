"""What every test process needs: one thread a library, no model hub, the same hypothesis examples each run."""

from __future__ import annotations

import os

# Before numpy, torch or a BLAS is imported: they read these once.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

from hypothesis import settings  # noqa: E402

# No deadline: the first example pays for imports, and a loaded machine is no bug. Derandomised: a failure seen
# once is seen by everyone.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")
