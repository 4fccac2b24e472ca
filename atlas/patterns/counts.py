"""How many clusters patches are sorted into."""

from __future__ import annotations

from atlas.records import Patches

MOST_CLUSTERS = 20
"""Into so many clusters patches are sorted at most, unless the user asks for more: readers look through them one by one."""

_FEWEST_CLUSTERS = 4

_PHOTOGRAPHS_PER_CLUSTER = 20

_FEWEST_LESIONS = 10  # on average: lesions differ more than windows, and a few odd ones take a cluster each


def cluster_count(patches: Patches, wished: int | None = None) -> int:
    """Return into how many clusters patches are sorted.

    Lesions: as many as wished, and fewer where they are too few for that. Windows: as many as wished; without a wish, one for
    every `_PHOTOGRAPHS_PER_CLUSTER` photographs that have a window, since in a smaller group a single person or camera says more
    than the disease.

    Parameters
    ----------
    patches : Patches
        Lesions, if they have kinds, or windows.
    wished : int or None
        Number of clusters that the user asked for.
    """
    if patches.kinds:
        return max(1, min(wished or MOST_CLUSTERS, len(patches.patch_ids) // _FEWEST_LESIONS))
    by_rule = len(set(patches.image_ids)) // _PHOTOGRAPHS_PER_CLUSTER
    return wished or min(MOST_CLUSTERS, max(_FEWEST_CLUSTERS, by_rule))
