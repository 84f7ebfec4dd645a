"""examples/bert: the bigram model that BERT is measured against is a good one, and the script prints both."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("fairseq")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "bert"
sys.path.insert(0, str(EXAMPLES))
import against_bigram
from bigram import Bigram, Masked, Smoothing, find_neighbours, join, score

from vqw2v_plugin.checkpoints.bert import build_bert, save_bert
from vqw2v_plugin.modules.bert.vocabulary import BOS, EOS, UNK, Symbols
from vqw2v_plugin.modules.kernels.attention import Rows
from vqw2v_plugin.modules.layers.masks import span_mask
from vqw2v_plugin.stores.symbols import write_dict
from vqw2v_plugin.stores.tokens import TokenWriter
from vqw2v_plugin.training.datasets.tokens import Piece

V = 12


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """p(next | this) of a Markov chain, [V, V]."""
    return np.random.default_rng(0).dirichlet(np.full(V, 0.1), V)


def chains(matrix: np.ndarray, count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    states = [rng.integers(V, size=count)]
    for _ in range(199):
        spins = rng.random((count, 1))
        states.append((matrix[states[-1]].cumsum(1) < spins).sum(1).clip(max=V - 1))
    return [np.array([BOS, *(4 + chain), EOS]) for chain in np.stack(states, 1)]


def masked_of(sequences: list[np.ndarray], seed: int) -> Masked:
    generator = torch.Generator().manual_seed(seed)
    masks = [np.pad(span_mask(len(s) - 2, 0.05, 10, generator=generator).numpy(), 1) for s in sequences]
    return join([find_neighbours(s, mask) for s, mask in zip(sequences, masks, strict=True)])


def test_neighbours_are_the_nearest_visible_tokens() -> None:
    tokens = np.array([0, 5, 6, 7, 8, 9, 2])
    found = find_neighbours(tokens, np.array([False, True, False, True, True, True, False]))
    assert found.target.tolist() == [5, 7, 8, 9]
    assert found.left.tolist() == [0, 6, 6, 6] and found.before.tolist() == [1, 1, 2, 3]
    assert found.right.tolist() == [6, 2, 2, 2] and found.after.tolist() == [1, 3, 2, 1]


def test_on_a_markov_chain_it_is_as_good_as_the_chain_s_own_posterior(matrix: np.ndarray) -> None:
    train = chains(matrix, 150, 1)
    test = masked_of(chains(matrix, 20, 2), 2)
    inner = (test.left != BOS) & (test.right != EOS)
    test = test[inner]
    bigram = Bigram(train[:140], V + 5)
    found = bigram.bits(test, bigram.tune(masked_of(train[140:], 3)))
    powers = np.stack(
        [np.linalg.matrix_power(matrix, d) for d in range(test.before.max() + test.after.max())]
    )
    exact = powers[test.before, test.left - 4] * powers[test.after, :, test.right - 4]  # [K, V]
    with np.errstate(divide="ignore"):
        best = score(np.log(exact / exact.sum(1, keepdims=True)), test.target - 4)
    assert found[0] < 1.03 * best[0] and found[1] > best[1] - 0.02
    unigram = score(np.broadcast_to(np.log(bigram.unigram), (len(test), V + 5)), test.target)
    assert found[0] < 0.92 * unigram[0]  # there was something to find


@pytest.mark.parametrize("how", [Smoothing(), Smoothing(3.0, 0.7), Smoothing(1.0, 1.0, 10.0)])
def test_probabilities_add_up_to_one(matrix: np.ndarray, how: Smoothing) -> None:
    bigram = Bigram(chains(matrix, 20, 1), V + 5)
    total = np.exp(bigram.log_probs(masked_of(chains(matrix, 3, 2), 2), how)).sum(1)
    assert np.allclose(total, 1, atol=1e-4)


@pytest.mark.parametrize("power", [0.5, 0.7, 1.0])
def test_both_sides_are_multiplied_and_the_unigram_they_share_is_taken_out(
    matrix: np.ndarray, power: float
) -> None:
    bigram = Bigram(chains(matrix, 20, 1), V + 5)
    masked = masked_of(chains(matrix, 3, 2), 2)
    left, right = (np.exp(side.astype(np.float64)) for side in bigram._sides(masked, 3.0))
    wanted = (left * right) ** power / bigram.unigram ** (2 * power - 1)
    found = np.exp(bigram.log_probs(masked, Smoothing(3.0, power)))
    np.testing.assert_allclose(found, wanted / wanted.sum(1, keepdims=True), rtol=1e-3, atol=1e-6)


def test_counting_both_sides_together_sees_what_each_alone_does_not() -> None:
    """Here the token between two is their sum: neither neighbour says anything about it."""
    rng = np.random.default_rng(0)
    ends = rng.integers(V, size=(3000, 2))
    sequences = [np.array([BOS, 4 + a, 4 + (a + b) % V, 4 + b, EOS]) for a, b in ends.tolist()]
    mask = np.array([False, False, True, False, False])
    masked = join([find_neighbours(s, mask) for s in sequences[2000:]])
    bigram = Bigram(sequences[:2000], V + 5)
    apart, together = (bigram.bits(masked, Smoothing(together=j)) for j in (None, 1.0))
    assert apart[1] < 0.3 and together[1] > 0.95
    assert bigram.tune(masked).together is not None


def write_tokens(folder: Path, matrix: np.ndarray) -> list[str]:
    symbols = [f"{i}-{i % 3}" for i in range(V)]
    for split, count, seed in (("train", 40, 1), ("test", 6, 2)):
        with TokenWriter(folder, split, V + 5) as writer:
            for number, chain in enumerate(chains(matrix, count, seed)):
                writer.add(f"{split}{number}", len(chain) - 2, chain[1:-1])
    write_dict(folder / "dict.txt", [(symbol, 1) for symbol in symbols])
    return symbols


def test_the_script_prints_a_row_for_each(
    matrix: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    symbols = Symbols(tuple(write_tokens(tmp_path, matrix)))
    command = ["against_bigram.py", str(tmp_path)]
    for kind in ("joint", "groups"):
        torch.manual_seed(0)
        save_bert(tmp_path / f"{kind}.pt", build_bert({"_name": "vq_bert_tiny", "vocabulary": kind}, symbols))
        command.append(str(tmp_path / f"{kind}.pt"))
    monkeypatch.setattr(sys, "argv", command)
    assert against_bigram.main() == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows][2:] == [
        f"| {tmp_path.name}/joint.pt: joint",
        f"| {tmp_path.name}/groups.pt: groups",
    ]
    bits = [float(row[1]) for row in rows]
    assert bits[1] < bits[0] and bits[2] > 3  # the networks are untrained
    below = [float(row[3].strip("% |")) for row in rows[2:]]
    assert below == [pytest.approx(100 * (1 - each / bits[1]), abs=0.2) for each in bits[2:]]


def test_a_bert_of_another_dictionary_is_refused(
    matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tokens(tmp_path, matrix)
    torch.manual_seed(0)
    save_bert(tmp_path / "other.pt", build_bert({"_name": "vq_bert_tiny"}, Symbols(("7-7", "8-8"))))
    monkeypatch.setattr(sys, "argv", ["against_bigram.py", str(tmp_path), str(tmp_path / "other.pt")])
    with pytest.raises(SystemExit, match="was trained with another dictionary than"):
        against_bigram.main()


def test_a_tenth_of_training_s_utterances_chooses_and_is_not_counted_then(
    matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tokens(tmp_path, matrix)
    counted: list[int] = []

    class Counted(Bigram):
        def __init__(self, sequences: list[np.ndarray], num_symbols: int) -> None:
            counted.append(len(sequences))
            super().__init__(sequences, num_symbols)

    monkeypatch.setattr(against_bigram, "Bigram", Counted)
    said = []
    for seed in ("1", "1", "2"):
        monkeypatch.setattr(sys, "argv", ["against_bigram.py", str(tmp_path), "--seed", seed])
        assert against_bigram.main() == 0
        said.append(capsys.readouterr().out)
    assert counted == [36, 40] * 3 and said[0] == said[1] != said[2]  # of forty


def test_tokens_that_the_dictionary_lacks_are_not_to_be_guessed() -> None:
    tokens = torch.tensor([BOS, 5, UNK, UNK, 6, 7, EOS])
    mask = torch.tensor([False, True, True, False, True, False, False])
    found = against_bigram.masked_tokens([Piece(0, tokens, tokens, mask)])
    assert found.target.tolist() == [5, 6] and found.left.tolist() == [BOS, UNK]


def test_a_network_s_bits_are_those_of_its_guesses_at_tokens_that_are_all_hidden(
    matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = Symbols(tuple(write_tokens(tmp_path, matrix)))
    monkeypatch.setattr(sys, "argv", ["against_bigram.py", str(tmp_path)])
    args = against_bigram.parse_args()
    assert (args.mask_start_prob, args.mask_length, args.tokens_per_sample) == (0.05, 10, 1024)  # the paper's
    dataset = against_bigram.read_pieces(tmp_path, "test", symbols, args)
    pieces = [dataset[i] for i in range(len(dataset))]
    assert all(bool((piece.seen[piece.mask] == symbols.mask).all()) for piece in pieces)

    def guess(tokens: torch.Tensor, lengths: list[int], rows: Rows, targets: torch.Tensor) -> SimpleNamespace:
        """One of eight symbols, and 5 is always right."""
        loss = torch.tensor(len(targets) * float(np.log(8)))
        return SimpleNamespace(loss=loss, num_correct=(targets == 5).sum())

    bits, accuracy = against_bigram.bert_bits(guess, dataset)
    hidden = torch.cat([piece.tokens[piece.mask] for piece in pieces])
    assert bits == pytest.approx(3, abs=1e-5)
    assert accuracy == pytest.approx(float((hidden == 5).float().mean())) and accuracy > 0


def test_probabilities_are_those_of_a_plain_count() -> None:
    """At the very distances, of which forty is the farthest, and never from one sequence into the next."""
    rng = np.random.default_rng(3)
    sequences = [np.array([BOS, *rng.integers(4, 8, size), EOS]) for size in (60, 2, 0, 50)]
    rows = [(5, BOS, 1, 6, 2), (6, 5, 2, EOS, 1), (4, 7, 45, 4, 3), (7, 6, 3, 5, 44)]
    masked = Masked(*(np.array(column) for column in zip(*rows, strict=True)))
    uses = np.bincount(np.concatenate(sequences), minlength=9) + 0.1
    alone = uses / uses.sum()

    def counted(*wanted: tuple[int, int | None]) -> np.ndarray:
        """Of tokens at places of their own, the one that is not given: how often it is which."""
        found = np.zeros(9)
        for sequence in sequences:
            for first in range(len(sequence) - wanted[-1][0]):
                said = [(sequence[first + place], token) for place, token in wanted]
                if all(token in (None, there) for there, token in said):
                    found[next(there for there, token in said if token is None)] += 1
        return found

    k, a, j = 3.0, 0.7, 2.0
    apart, together = [], []
    for _, left, before, right, after in rows:
        sides = (counted((0, left), (min(before, 40), None)), counted((0, None), (min(after, 40), right)))
        product = alone ** (1 - 2 * a)
        for side in sides:
            product = product * ((side + k * alone) / (side.sum() + k)) ** a
        apart.append(product / product.sum())
        both = counted((0, left), (before, None), (before + after, right))
        together.append((both + j * apart[-1]) / (both.sum() + j))
    bigram = Bigram(sequences, 9)
    for how, wanted in ((Smoothing(k, a), apart), (Smoothing(k, a, j), together)):
        np.testing.assert_allclose(np.exp(bigram.log_probs(masked, how)), wanted, rtol=1e-4)


def test_a_token_s_chances_are_its_own_whoever_is_asked_beside_it(matrix: np.ndarray) -> None:
    bigram, masked = Bigram(chains(matrix, 5, 1), V + 5), masked_of(chains(matrix, 2, 2), 2)
    assert len(set((masked.before - masked.after).tolist())) > 1
    for how in (Smoothing(), Smoothing(together=3.0)):
        alone = [bigram.log_probs(masked[np.arange(len(masked)) == i], how)[0] for i in range(len(masked))]
        np.testing.assert_allclose(bigram.log_probs(masked, how), alone, rtol=1e-5)


@pytest.mark.parametrize(("seed", "helps"), [(1, False), (5, True)])
def test_the_smoothing_that_is_chosen_does_best_of_all(matrix: np.ndarray, seed: int, helps: bool) -> None:
    """Counting both sides together helps where it does."""
    bigram, masked = Bigram(chains(matrix, 2, seed), V + 5), masked_of(chains(matrix, 3, 2), 2)
    strengths, powers = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0), (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    choices = [Smoothing(strength, power) for strength in strengths for power in powers]
    bits = [bigram.bits(masked, how)[0] for how in choices]
    best = choices[int(np.argmin(bits))]
    joined = [replace(best, together=strength) for strength in strengths]
    found = [bigram.bits(masked, how)[0] for how in joined]
    assert (min(found) < min(bits)) == helps
    assert bigram.tune(masked) == (joined[int(np.argmin(found))] if helps else best)


def test_who_chooses_is_not_counted_then_and_all_are_in_the_end(
    matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    symbols = Symbols(tuple(write_tokens(tmp_path, matrix)))
    counted: list[list[np.ndarray]] = []
    chosen: list[Masked] = []
    measured: list[tuple[int, Masked]] = []

    class Told(Bigram):
        def __init__(self, sequences: list[np.ndarray], num_symbols: int) -> None:
            counted.append(sequences)
            self.size = len(sequences)
            super().__init__(sequences, num_symbols)

        def tune(self, masked: Masked) -> Smoothing:
            chosen.append(masked)
            return Smoothing()

        def bits(self, masked: Masked, how: Smoothing) -> tuple[float, float]:
            measured.append((self.size, masked))
            return 2.5, 0.25

    monkeypatch.setattr(against_bigram, "Bigram", Told)
    monkeypatch.setattr(sys, "argv", ["against_bigram.py", str(tmp_path)])
    args = against_bigram.parse_args()
    train, test = (against_bigram.read_pieces(tmp_path, split, symbols, args) for split in ("train", "test"))
    assert against_bigram.main() == 0
    inside = {tokens.tobytes() for tokens in counted[0]}
    pieces = [
        piece for piece in (train[i] for i in range(40)) if piece.tokens.numpy().tobytes() not in inside
    ]
    assert len(pieces) == 4 and len(counted[1]) == 40
    assert chosen[0].target.tolist() == torch.cat([piece.tokens[piece.mask] for piece in pieces]).tolist()
    hidden = torch.cat([test[i].tokens[test[i].mask] for i in range(6)])
    assert [(size, masked.target.tolist()) for size, masked in measured] == [(40, hidden.tolist())]
    said = capsys.readouterr().out
    num_tokens = int(against_bigram.TokenStore(tmp_path, "train").sizes.sum())
    assert f"{tmp_path}: {num_tokens:,} training tokens, {V} symbols; {len(hidden):,} masked" in said
    assert "tokens of test; bigram: k = 10, a = 1, j = no" in said
    assert "| bigram, nearest visible on both sides | 2.500 | 0.250 |  |" in said


def test_a_network_is_asked_for_the_same_test_tokens(
    matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    symbols = Symbols(tuple(write_tokens(tmp_path, matrix)))
    torch.manual_seed(0)
    save_bert(tmp_path / "a.pt", build_bert({"_name": "vq_bert_tiny"}, symbols))
    asked: list[int] = []
    monkeypatch.setattr(against_bigram, "bert_bits", lambda bert, data: asked.append(len(data)) or (4.0, 0.5))
    monkeypatch.setattr(against_bigram, "measure_bigram", lambda folder, symbols, args: 5.0)
    monkeypatch.setattr(sys, "argv", ["against_bigram.py", str(tmp_path), str(tmp_path / "a.pt")])
    assert against_bigram.main() == 0 and asked == [6]
    assert capsys.readouterr().out == f"| {tmp_path.name}/a.pt: joint | 4.000 | 0.500 | 20.0% |\n"


def test_a_network_is_not_asked_for_tokens_that_the_dictionary_lacks(
    matrix: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    symbols = Symbols(tuple(write_tokens(tmp_path, matrix)))
    with TokenWriter(tmp_path, "odd", V + 5) as writer:
        for number, chain in enumerate(chains(matrix, 5, 4)):
            writer.add(f"odd{number}", len(chain) - 2, np.where(chain[1:-1] % 3, chain[1:-1], UNK))
    monkeypatch.setattr(sys, "argv", ["against_bigram.py", str(tmp_path)])
    dataset = against_bigram.read_pieces(tmp_path, "odd", symbols, against_bigram.parse_args())
    told: list[int] = []

    def guess(tokens: torch.Tensor, lengths: list[int], rows: Rows, targets: torch.Tensor) -> SimpleNamespace:
        told.extend(targets.tolist())
        owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        assert owner[rows.index].bincount(minlength=len(lengths)).tolist() == list(rows.counts)
        return SimpleNamespace(loss=torch.tensor(len(targets) * float(np.log(4))), num_correct=len(targets))

    bits, accuracy = against_bigram.bert_bits(guess, dataset)
    hidden = torch.cat([dataset[i].tokens[dataset[i].mask] for i in range(5)])
    assert 0 < int((hidden == UNK).sum()) and sorted(told) == sorted(hidden[hidden != UNK].tolist())
    assert bits == pytest.approx(2, abs=1e-5) and accuracy == 1
