"""A process that has a cluster, so that it outlives who asked for it, and several may use it."""

from pdtest.keeper.audience import follow
from pdtest.keeper.joining import Joined, join
from pdtest.keeper.kept import KeeperGone, KeptCluster
from pdtest.keeper.standing import FOLDER, KeeperFailed, Standing, find, standing_clusters
from pdtest.keeper.turns import InUse

__all__ = [
    "FOLDER",
    "InUse",
    "Joined",
    "KeeperFailed",
    "KeeperGone",
    "KeptCluster",
    "Standing",
    "find",
    "follow",
    "join",
    "standing_clusters",
]
