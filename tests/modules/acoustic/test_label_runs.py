"""A run of frames is a label where none was learnt from; what is behind an end is neither said nor scored."""

import math

import pytest
import torch

from vqw2v_plugin.modules.acoustic.runs import Runs

PATHS = [[0, 0, 2, 2, 2, 1], [1, 1, 0]]


def emissions() -> torch.Tensor:  # [B, T, V]
    """Of two to one for each label; loud nonsense behind the second's end."""
    found = torch.zeros(2, 6, 3)
    for row, path in enumerate(PATHS):
        found[row, range(len(path)), path] = math.log(2)
    found[1, 3:, 2] = 9.0
    return found


def test_runs_are_labels_and_scores_those_of_an_utterance_s_own_frames() -> None:
    lengths = torch.tensor([6, 3])
    found = Runs().best_path(emissions(), lengths)
    assert found.sequences() == [[0, 2, 1], [1, 0]]
    assert found.labels.tolist() == [PATHS[0], [*PATHS[1], -1, -1, -1]]
    assert found.positions.tolist() == [[0, 0, 1, 1, 1, 2], [0, 0, 1, -1, -1, -1]]
    assert found.scores.tolist() == pytest.approx([6 * math.log(0.5), 3 * math.log(0.5)])
    alone = Runs().best_path(emissions()[1:, :3], lengths[1:])
    assert alone.scores.tolist() == pytest.approx(found.scores[1:].tolist())


def test_nothing_is_learnt_by_it() -> None:
    with pytest.raises(ValueError, match="learns without labels; train it with `--task vq_unpaired`"):
        Runs()(emissions(), torch.tensor([6, 3]), torch.zeros(2, 1), torch.ones(2))


def test_scores_of_16_bit_are_summed_in_32() -> None:
    found = Runs().best_path(torch.zeros(1, 1000, 3).bfloat16(), torch.tensor([1000]))
    assert found.scores.tolist() == pytest.approx([1000 * math.log(1 / 3)], rel=1e-5)
