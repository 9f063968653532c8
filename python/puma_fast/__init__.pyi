from puma_fast._core import __version__ as __version__
from puma_fast.numeric.arrays import as_floats as as_floats

__all__ = ["__version__", "as_floats"]
