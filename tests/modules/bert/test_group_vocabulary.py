"""A table and a softmax for each group: where they begin, and what belongs to a model's state."""

import pytest
import torch

from vqw2v_plugin.modules.bert.config import BertConfig
from vqw2v_plugin.modules.bert.network import Bert
from vqw2v_plugin.modules.bert.vocabulary import Symbols, predict

SYMBOLS = Symbols(tuple(f"{i}-{j}" for i in range(4) for j in range(3)))


def bert() -> Bert:
    torch.manual_seed(0)
    return Bert(BertConfig(1, 8, 16, 2, vocabulary="groups"), SYMBOLS)


def test_groups_begin_independent_of_each_other() -> None:
    vocabulary, x = bert().vocabulary, torch.randn(2, 8)
    for told in ([[5, 5], [6, 5]], [[8, 5], [7, 5]]):
        scores = vocabulary.scores(x, torch.tensor(told))
        plain = [x @ table.weight.T for table in vocabulary.tables]
        for found, expected in zip(scores, plain, strict=True):
            torch.testing.assert_close(found, expected)


def test_losses_of_16_bit_scores_are_summed_in_32() -> None:
    torch.manual_seed(0)
    vocabulary, x, tokens = bert().vocabulary.bfloat16(), torch.randn(3000, 8).bfloat16(), SYMBOLS.codes[:1]
    found = predict(vocabulary, x, tokens.expand(3000)).loss
    scores = vocabulary.scores(x, vocabulary.targets(tokens.expand(3000)))
    codes = vocabulary.codes[tokens][0]
    expected = -sum(s.double().log_softmax(-1)[:, code].sum() for s, code in zip(scores, codes, strict=True))
    assert found.dtype == torch.float32 and found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_which_codes_there_are_is_the_dictionary_s_to_say() -> None:
    """A checkpoint has it beside the weights, so weights alone fit whatever the codes' order is."""
    assert not [name for name in bert().state_dict() if name.endswith("codes")]
