"""Connected components of a graph, and groups of related posts."""

from __future__ import annotations

import numpy as np

from alti2v.arrays import Int64Array
from alti2v.storage.order import distinct


def related_groups(ids: Int64Array, pairs: tuple[Int64Array, Int64Array]) -> Int64Array:
    """Group posts that are connected by a chain of pairs.

    Args:
        ids: (n,) distinct, ascending.
        pairs: Pairs of related ids. They may contain posts that are not in `ids`: siblings of a missing parent
            are still related.

    Returns:
        (n,) the smallest id of each post's group, missing posts included.
    """
    nodes = distinct(np.concatenate([ids, *pairs]))
    first, second = (np.searchsorted(nodes, ends) for ends in pairs)
    return nodes[components(len(nodes), first, second)][np.searchsorted(nodes, ids)]


def components(nodes: int, first: Int64Array, second: Int64Array) -> Int64Array:
    """Return the smallest node of each node's connected component, by hooking and pointer jumping.

    Y. Shiloach, U. Vishkin, "An O(log n) parallel connectivity algorithm", J. Algorithms 3 (1982).
    """
    root = np.arange(nodes)
    while True:
        left, right = root[first], root[second]
        is_open = left != right
        if not is_open.any():
            return root
        np.minimum.at(root, np.maximum(left, right)[is_open], np.minimum(left, right)[is_open])
        while not np.array_equal(root, root[root]):
            root = root[root]
