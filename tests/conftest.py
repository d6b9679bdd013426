"""Every process of the tests computes with one thread: networks are small, and tests run beside each other."""

import os

# Read when torch is imported, which is later than this, and inherited by the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"
