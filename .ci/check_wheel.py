"""Check an installed wheel where only NumPy stands beside it.

The examples of the numeric functions run; every other public name says which extra it needs.
"""

import doctest
import importlib
import pkgutil
import sys
from pathlib import Path

import puma_fast
import puma_fast.numeric

where = Path(puma_fast.__file__)
if not where.is_relative_to(sys.prefix):
    sys.exit(f"this checks {where}, not the installed wheel")

attempted = 0
for module in pkgutil.walk_packages(puma_fast.numeric.__path__, "puma_fast.numeric."):
    outcome = doctest.testmod(importlib.import_module(module.name))
    attempted += outcome.attempted
    if outcome.failed:
        sys.exit(f"{outcome.failed} examples of {module.name} fail without the extras")
if not attempted:
    sys.exit("puma_fast.numeric holds no example: nothing was checked")

without = 0
for name in puma_fast.__all__:
    try:
        getattr(puma_fast, name)
    except ImportError as refusal:
        if "puma-fast[" not in str(refusal):
            raise
        without += 1
print(f"{where.parent}: {attempted} examples pass with NumPy alone; {without} names ask for an extra")
