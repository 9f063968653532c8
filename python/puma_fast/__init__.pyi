from puma_fast._core import __version__ as __version__
from puma_fast.numeric.reweight import WeightsInfo as WeightsInfo
from puma_fast.numeric.reweight import solve_weights as solve_weights
from puma_fast.puma import Puma as Puma

__all__ = ["Puma", "WeightsInfo", "__version__", "solve_weights"]
