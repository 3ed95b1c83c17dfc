"""Merkle trees after RFC 9162: roots, inclusion and consistency proofs, and their verification.

All of them are made of the hashes of perfect subtrees, which somebody keeps: a list of leaves, or
tiles of 256 hashes. Sizes and indexes count leaves from 0.

Source: RFC 9162, "Certificate Transparency Version 2.0", section 2.1, with SHA-256. Ours differs in
nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

Subtree: TypeAlias = "Callable[[int, int], bytes]"
"""Gives the hash of the perfect subtree of height h (2 ** h leaves) with index i at that height."""

HEIGHT = 8
"""Height of a tile: it keeps up to 256 hashes of one level, and its root is in the tile above."""

TILE = 1 << HEIGHT
WIDTH = 32  # bytes of a hash

_sha256 = hashlib.sha256


def leaf_hash(body: bytes) -> bytes:
    """The hash of a leaf."""
    return _sha256(b"\0" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees side by side."""
    return _sha256(b"\1" + left + right).digest()


EMPTY = _sha256(b"").digest()
"""The root of a tree without leaves."""


def root(size: int, subtree: Subtree) -> bytes:
    """The root of the first `size` leaves."""
    return _hash(0, size, subtree) if size else EMPTY


def inclusion(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The path that proves that leaf `index` is in the tree of the first `size` leaves.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_hash(middle, end, subtree))
            end = middle
        else:
            path.append(_hash(start, middle, subtree))
            start = middle
    return path[::-1]


def consistency(old: int, size: int, subtree: Subtree) -> list[bytes]:
    """The path that proves that the tree of `size` begins with the tree of `old` leaves.

    Raises:
        ValueError: `old` is above `size`, or below 0.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} cannot begin with {old} leaves")
    if old in (0, size):
        return []
    path: list[bytes] = []
    start, end, known = 0, size, True
    while old < end:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_hash(middle, end, subtree))
            end = middle
        else:
            path.append(_hash(start, middle, subtree))
            start, known = middle, False
    if not known:
        path.append(_hash(start, end, subtree))
    return path[::-1]


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a path leads to from a leaf's hash; None where it cannot be one of that leaf.

    Who compares it with a root that he trusts knows that the leaf is in that tree.
    """
    if not 0 <= index < size:
        return None
    place, last, found = index, size - 1, leaf
    for each in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = node_hash(each, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, each)
        place, last = place >> 1, last >> 1
    return found if last == 0 else None


def is_consistent(
    old: int, old_root: bytes, size: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether a path proves that the tree of `size` begins with the tree of `old` leaves."""
    if not 0 <= old <= size:
        return False
    if old == size:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY
    rest = list(path)
    if old & (old - 1) == 0:  # the old tree is a perfect subtree of the new: its root is the start
        rest.insert(0, old_root)
    if not rest:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    first = second = rest[0]
    for each in rest[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            first, second = node_hash(each, first), node_hash(each, second)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            second = node_hash(second, each)
        place, last = place >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


class Growing:
    """A tree that grows at its end and keeps only what its root needs: a hash for each bit of size.

    What streams past it may be of any length.
    """

    __slots__ = ("_right", "size")

    def __init__(self) -> None:
        self.size = 0
        self._right: list[bytes] = []  # perfect subtrees, the largest first

    def add(self, leaf: bytes) -> None:
        """Add the hash of a leaf."""
        size, found, right = self.size, leaf, self._right
        while size & 1:
            found = _sha256(b"\1" + right.pop() + found).digest()
            size >>= 1
        right.append(found)
        self.size += 1

    def root(self) -> bytes:
        """The root of what was added."""
        if not self._right:
            return EMPTY
        found = self._right[-1]
        for each in self._right[-2::-1]:
            found = node_hash(each, found)
        return found


def of_leaves(leaves: Sequence[bytes]) -> Subtree:
    """The subtrees over a list of hashes of leaves."""

    def subtree(height: int, index: int) -> bytes:
        if height == 0:
            return leaves[index]
        return node_hash(subtree(height - 1, 2 * index), subtree(height - 1, 2 * index + 1))

    return subtree


def of_tiles(tile: Callable[[int, int], bytes]) -> Subtree:
    """The subtrees over tiles: `tile(level, index)` gives its hashes, one after the other."""

    def subtree(height: int, index: int) -> bytes:
        level, above = divmod(height, HEIGHT)
        first = index << above
        number, place = divmod(first, TILE)
        hashes = tile(level, number)
        end = (place + (1 << above)) * WIDTH
        if len(hashes) < end:
            raise ValueError(f"tile {number} of level {level} is cut off")
        return perfect(split(hashes[place * WIDTH : end]))

    return subtree


def split(hashes: bytes) -> list[bytes]:
    """Hashes that stand one after the other, as a list."""
    return [hashes[at : at + WIDTH] for at in range(0, len(hashes), WIDTH)]


def perfect(row: Sequence[bytes]) -> bytes:
    """The root over the hashes of a perfect subtree; their count is a power of two."""
    new = _sha256
    while len(row) > 1:
        row = [new(b"\1" + row[at] + row[at + 1]).digest() for at in range(0, len(row), 2)]
    return row[0]


def roots_of(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots at these sizes, of leaves that stream past; sizes never reached are left out."""
    wanted, tree = set(sizes), Growing()
    found = {0: EMPTY} if 0 in wanted else {}
    for leaf in leaves:
        tree.add(leaf)
        if tree.size in wanted:
            found[tree.size] = tree.root()
    return found


def _hash(start: int, end: int, subtree: Subtree) -> bytes:
    count = end - start
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return subtree(height, start >> height)
    middle = start + _split(count)
    return node_hash(_hash(start, middle, subtree), _hash(middle, end, subtree))


def _split(count: int) -> int:
    """The largest power of two below a count."""
    return 1 << (count - 1).bit_length() - 1
