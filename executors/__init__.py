"""The GPU side: what claims jobs and runs them. The only package that imports torch."""

import os

# Without it, Intel's MKL picks a kernel by how an array happens to lie in memory, so on a CPU the same seed gives pictures that differ by a
# level from one load of the weights to the next. Read at MKL's first call; an operator's own value stands.
# https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/2024-2/reproducibility-conditions.html
os.environ.setdefault("MKL_CBWR", "AUTO")
