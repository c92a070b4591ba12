"""The heaviest increasing subsequence: what may stay where it is in a reorder."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["heaviest_increasing"]


def heaviest_increasing(values: Sequence[int], weights: Sequence[int]) -> list[int]:
    """Return the indices of an increasing subsequence of the greatest total weight.

    With equal weights it is a longest one. `values` are distinct and `weights` are
    positive. Takes n log n steps: a Fenwick tree over the values keeps the heaviest
    subsequence that ends at or below each.
    """
    rank = {value: at for at, value in enumerate(sorted(values), 1)}
    tree: list[tuple[int, int]] = [(0, -1)] * (len(values) + 1)
    previous: list[int] = []
    for index, (value, weight) in enumerate(zip(values, weights, strict=True)):
        heaviest, last = _best_below(tree, rank[value])
        previous.append(last)
        _raise(tree, rank[value], (heaviest + weight, index))
    return _walk(previous, _best_below(tree, len(values) + 1)[1])


def _best_below(tree: list[tuple[int, int]], rank: int) -> tuple[int, int]:
    best = (0, -1)
    at = rank - 1
    while at > 0:
        best = max(best, tree[at])
        at -= at & -at
    return best


def _raise(tree: list[tuple[int, int]], rank: int, entry: tuple[int, int]) -> None:
    while rank < len(tree):
        tree[rank] = max(tree[rank], entry)
        rank += rank & -rank


def _walk(previous: Sequence[int], last: int) -> list[int]:
    chain: list[int] = []
    while last >= 0:
        chain.append(last)
        last = previous[last]
    return chain[::-1]
