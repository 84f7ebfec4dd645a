"""Trees and places of groups: against scipy's where that is there, and by what they promise."""

import numpy as np
import pytest

from vqw2v_plugin.analysis.group_tree import average_linkage, classical_scaling, joined, leaves


def distances_of(seed: int, count: int) -> np.ndarray:
    points = np.random.default_rng(seed).normal(size=(count, 5))
    found: np.ndarray = np.linalg.norm(points[:, None] - points[None], axis=2)
    return found


@pytest.mark.parametrize("count", [2, 3, 7, 20])
def test_the_tree_is_scipy_s(count: int) -> None:
    hierarchy = pytest.importorskip("scipy.cluster.hierarchy")
    squareform = pytest.importorskip("scipy.spatial.distance").squareform
    distances = distances_of(count, count)
    theirs = hierarchy.linkage(squareform(distances, checks=False), "average")
    ours = average_linkage(distances)
    assert np.allclose(np.sort(ours[:, :2], axis=1), theirs[:, :2])
    assert np.allclose(ours[:, 2:], theirs[:, 2:])


def test_branches_do_not_cross_and_all_groups_are_there() -> None:
    distances = distances_of(1, 9)
    tree = average_linkage(distances)
    order = leaves(tree)
    assert sorted(order) == list(range(9))
    members: list[set[int]] = [{i} for i in range(9)]
    for a, b in tree[:, :2].astype(int).tolist():
        members.append(members[a] | members[b])
        places = [order.index(each) for each in members[-1]]
        assert max(places) - min(places) + 1 == len(places)
    assert (np.diff(tree[:, 2]) >= 0).all()


def test_the_nearest_are_joined_first() -> None:
    distances = np.array([[0, 4, 1.0], [4, 0, 5], [1, 5, 0]])
    tree = average_linkage(distances)
    assert tree.tolist() == [[0, 2, 1, 2], [1, 3, 4.5, 3]]
    assert joined(tree, ["de", "fr", "nl"]) == "(fr (de nl))"


def test_places_on_a_plane_keep_its_distances() -> None:
    points = np.random.default_rng(0).normal(size=(6, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    places, shown = classical_scaling(distances)
    found = np.linalg.norm(places[:, None] - places[None], axis=2)
    assert np.allclose(found, distances) and shown == pytest.approx(1)
    again, _ = classical_scaling(distances[::-1, ::-1])
    assert np.allclose(places, again[::-1])


def test_groups_that_are_alike_have_one_place() -> None:
    places, shown = classical_scaling(np.zeros((3, 3)))
    assert not places.any() and shown == 1
    places, _ = classical_scaling(np.array([[0.0, 2.0], [2.0, 0.0]]))
    assert np.allclose(np.abs(places[:, 0]), 1) and np.allclose(places[:, 1], 0)
    with pytest.raises(ValueError, match=r"shape \(2, 3\)"):
        average_linkage(np.zeros((2, 3)))


def test_of_distances_that_no_plane_has_no_more_is_shown_than_there_is() -> None:
    """Along a ring of four: the squares' matrix has the values 2, 2, 0 and -1; the plane is of the twos."""
    ring = np.array([[0.0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]])
    places, shown = classical_scaling(ring)
    assert shown == pytest.approx(1) and np.square(places).sum(0) == pytest.approx([2, 2])
