"""How hypothesis runs: no deadline (the first call compiles), and a fixed budget in CI."""

import os

from hypothesis import settings

settings.register_profile("default", deadline=None, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), max_examples=50, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
