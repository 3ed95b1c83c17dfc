"""Merkle trees: against the oracle of another author, and against whoever bends a proof."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from splice.core import merkle

SIZES = st.integers(1, 40) | st.integers(250, 600)


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % n) for n in range(count)]


def tiled(hashes: list[bytes]) -> merkle.Subtree:
    """The same as tiles, as a store keeps them: only full tiles have a root above."""
    tiles: dict[tuple[int, int], bytes] = {}
    level, row = 0, hashes
    while row:
        for at in range(0, len(row), merkle.TILE):
            tiles[level, at // merkle.TILE] = b"".join(row[at : at + merkle.TILE])
        full = len(row) // merkle.TILE
        row = [merkle.perfect(row[n * 256 : n * 256 + 256]) for n in range(full)]
        level += 1
    return merkle.of_tiles(lambda level, index: tiles[level, index])


def oracle(count: int) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for n in range(count):
        tree.append_entry(b"%d" % n)
    return tree


def test_a_leaf_and_a_node_are_hashed_apart() -> None:
    assert merkle.leaf_hash(b"a") == hashlib.sha256(b"\0a").digest()
    assert merkle.node_hash(b"l", b"r") == hashlib.sha256(b"\1lr").digest()
    assert merkle.root(0, merkle.of_leaves([])) == hashlib.sha256(b"").digest()


@given(SIZES)
def test_the_root_is_the_oracles_whoever_keeps_the_subtrees(count: int) -> None:
    hashes, tree = leaves(count), oracle(count)
    growing = merkle.Growing()
    for one in hashes:
        growing.add(one)

    expected = tree.get_root(count)

    assert merkle.root(count, merkle.of_leaves(hashes)) == expected
    assert merkle.root(count, tiled(hashes)) == expected
    assert growing.root() == expected


@given(SIZES, st.data())
def test_an_inclusion_path_is_the_oracles_and_leads_to_the_root(
    count: int, drawn: st.DataObject
) -> None:
    index = drawn.draw(st.integers(0, count - 1))
    hashes, tree = leaves(count), oracle(count)

    path = merkle.inclusion(index, count, tiled(hashes))

    assert path == tree.prove_inclusion(index + 1, count).path[1:]
    top = merkle.root_by_inclusion(hashes[index], index, count, path)
    assert top == tree.get_root(count)


@given(SIZES, st.data())
def test_a_consistency_path_proves_only_the_tree_that_was(count: int, drawn: st.DataObject) -> None:
    old = drawn.draw(st.integers(0, count))
    hashes, tree = leaves(count), oracle(count)
    before, after = tree.get_root(old), tree.get_root(count)

    path = merkle.consistency(old, count, tiled(hashes))

    assert merkle.is_consistent(old, before, count, after, path)
    other = merkle.leaf_hash(b"other")
    if 0 < old < count:
        assert not merkle.is_consistent(old, other, count, after, path)
        assert not merkle.is_consistent(old, before, count, other, path)
        assert not merkle.is_consistent(old, before, count, after, path[:-1])
        assert not merkle.is_consistent(old, before, count, after, [*path, other])
        bent = drawn.draw(st.integers(0, len(path) - 1))
        wrong = [other if n == bent else one for n, one in enumerate(path)]
        assert not merkle.is_consistent(old, before, count, after, wrong)


@given(SIZES, st.data())
def test_a_path_that_was_bent_leads_elsewhere(count: int, drawn: st.DataObject) -> None:
    index = drawn.draw(st.integers(0, count - 1))
    hashes = leaves(count)
    top = merkle.root(count, merkle.of_leaves(hashes))
    path = merkle.inclusion(index, count, merkle.of_leaves(hashes))
    other = merkle.leaf_hash(b"other")

    assert merkle.root_by_inclusion(other, index, count, path) != top
    assert merkle.root_by_inclusion(hashes[index], index, count, [*path, other]) != top
    assert merkle.root_by_inclusion(hashes[index], count, count, path) is None
    assert merkle.root_by_inclusion(hashes[index], -1, count, path) is None
    if path:
        assert merkle.root_by_inclusion(hashes[index], index, count, path[:-1]) != top
        elsewhere = drawn.draw(st.integers(0, count - 1).filter(lambda n: n != index))
        assert merkle.root_by_inclusion(hashes[index], elsewhere, count, path) != top


def test_consistency_with_a_root_that_never_was_is_refused() -> None:
    hashes = leaves(5)
    top = merkle.root(5, merkle.of_leaves(hashes))

    assert not merkle.is_consistent(6, top, 5, top, [])
    assert not merkle.is_consistent(0, top, 5, top, [])
    assert not merkle.is_consistent(3, top, 5, top, [])
    assert not merkle.is_consistent(5, merkle.EMPTY, 5, top, [])
    assert merkle.is_consistent(0, merkle.EMPTY, 5, top, [])


def test_what_is_not_in_the_tree_has_no_path() -> None:
    subtree = merkle.of_leaves(leaves(3))

    for index, size in ((3, 3), (-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            merkle.inclusion(index, size, subtree)
    with pytest.raises(ValueError, match="cannot begin"):
        merkle.consistency(4, 3, subtree)


def test_a_tile_that_is_cut_off_gives_no_root() -> None:
    hashes = b"".join(leaves(5))

    with pytest.raises(ValueError, match="cut off"):
        merkle.root(5, merkle.of_tiles(lambda level, index: hashes[:-1]))


@given(SIZES, st.sets(st.integers(0, 700), max_size=5))
def test_roots_of_a_stream_are_given_where_they_are_asked_for(count: int, sizes: set[int]) -> None:
    hashes = leaves(count)

    found = merkle.roots_of(iter(hashes), sizes)

    assert set(found) == {size for size in sizes if size <= count}
    assert all(top == merkle.root(size, merkle.of_leaves(hashes)) for size, top in found.items())
