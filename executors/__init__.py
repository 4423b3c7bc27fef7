"""Executors: the processes that claim and run jobs on a GPU. The only package that imports torch."""

import os

# By default Intel's MKL picks a kernel by an array's alignment, so on a CPU the same seed gives pictures that differ by a level between two
# loads of the weights. MKL reads the variable at its first call; a value set by the operator is kept.
# https://www.intel.com/content/www/us/en/docs/onemkl/developer-guide-linux/2024-2/reproducibility-conditions.html
os.environ.setdefault("MKL_CBWR", "AUTO")
