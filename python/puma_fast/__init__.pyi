from puma_fast._core import __version__ as __version__
from puma_fast.puma import Puma as Puma

__all__ = ["Puma", "__version__"]
