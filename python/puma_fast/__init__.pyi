from puma_fast._core import __version__ as __version__
from puma_fast.edit.linear import UnfitInfo as UnfitInfo
from puma_fast.edit.linear import unfit as unfit
from puma_fast.numeric.reweight import WeightsInfo as WeightsInfo
from puma_fast.numeric.reweight import solve_weights as solve_weights
from puma_fast.puma import Puma as Puma
from puma_fast.score.linear import linear_influence as linear_influence

__all__ = ["Puma", "UnfitInfo", "WeightsInfo", "__version__", "linear_influence", "solve_weights", "unfit"]
