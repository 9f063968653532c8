from puma_fast._core import __version__ as __version__
from puma_fast.edit.linear import UnfitInfo as UnfitInfo
from puma_fast.edit.linear import unfit as unfit
from puma_fast.numeric.kmeans import KMeans as KMeans
from puma_fast.numeric.kmeans import kmeans as kmeans
from puma_fast.numeric.order import argsort as argsort
from puma_fast.numeric.order import bottom_k as bottom_k
from puma_fast.numeric.order import difference as difference
from puma_fast.numeric.order import group_sums as group_sums
from puma_fast.numeric.order import intersection as intersection
from puma_fast.numeric.order import select_scores as select_scores
from puma_fast.numeric.order import suspects as suspects
from puma_fast.numeric.order import top_k as top_k
from puma_fast.numeric.reweight import WeightsInfo as WeightsInfo
from puma_fast.numeric.reweight import WeightsPath as WeightsPath
from puma_fast.numeric.reweight import solve_weights as solve_weights
from puma_fast.numeric.reweight import solve_weights_path as solve_weights_path
from puma_fast.numeric.shard import Shard as Shard
from puma_fast.puma import Puma as Puma
from puma_fast.score.groups import per_class as per_class
from puma_fast.score.groups import per_group as per_group
from puma_fast.score.linear import linear_influence as linear_influence
from puma_fast.select.clusters import mark_clusters as mark_clusters
from puma_fast.select.prune import adaptive_eps as adaptive_eps
from puma_fast.select.prune import prune_by_margin as prune_by_margin

__all__ = [
    "KMeans",
    "Puma",
    "Shard",
    "UnfitInfo",
    "WeightsInfo",
    "WeightsPath",
    "__version__",
    "adaptive_eps",
    "argsort",
    "bottom_k",
    "difference",
    "group_sums",
    "intersection",
    "kmeans",
    "linear_influence",
    "mark_clusters",
    "per_class",
    "per_group",
    "prune_by_margin",
    "select_scores",
    "solve_weights",
    "solve_weights_path",
    "suspects",
    "top_k",
    "unfit",
]
