"""How hypothesis runs: no deadline (the first call compiles), and a fixed budget in CI.

torch has one thread: on small tensors further threads wait for each other, the longer the busier
the machine.
"""

import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), max_examples=50, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
