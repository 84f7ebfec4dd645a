"""Decipherment by EM: a permuted language is solved, a flat one is not and its gain says so."""

import itertools
import math

import pytest
import torch

from vqw2v_plugin.modules.unpaired import decipher as module
from vqw2v_plugin.modules.unpaired.decipher import Effort, by_frequency, decipher, read_out

PHONES = 6
EFFORT = Effort(restarts=48, passes=15, refined=2, passes_after=4)


def sentences(moves: torch.Tensor, count: int, seed: int) -> list[torch.Tensor]:
    """Of a Markov language, 10 phones each; the first phone is any."""
    rng = torch.Generator().manual_seed(seed)
    now = torch.randint(len(moves), (count,), generator=rng)
    said = [now]
    for _ in range(9):
        now = torch.multinomial(moves[now], 1, generator=rng)[:, 0]
        said.append(now)
    return list(torch.stack(said, 1))


def enciphered(spoken: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    """Two clusters a phone in a hidden order, each phone once or twice."""
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.randperm(2 * PHONES, generator=rng)
    found = []
    for line in spoken:
        phones = line.repeat_interleave(torch.randint(1, 3, line.shape, generator=rng))
        found.append(hidden[2 * phones + torch.randint(2, phones.shape, generator=rng)])
    return found


def error(is_flat: bool) -> tuple[float, float]:
    """(share of sentences that are read wrong, gain)."""
    rng = torch.Generator().manual_seed(0)
    moves = torch.rand(PHONES, PHONES, generator=rng) ** 4 + 1e-3
    moves.fill_diagonal_(0)
    moves = torch.ones(PHONES, PHONES) - torch.eye(PHONES) if is_flat else moves
    moves = moves / moves.sum(1, keepdim=True)
    text, spoken = sentences(moves, 300, 1), sentences(moves, 300, 2)
    clusters = enciphered(spoken, 3)
    solution = decipher(clusters, 2 * PHONES, text, PHONES, EFFORT)
    read = [read_out(line, solution, text, PHONES) for line in clusters[:60]]
    wrong = sum(phones != line.tolist() for phones, line in zip(read, spoken, strict=False))
    return wrong / 60, solution.gain


def test_a_permuted_language_is_solved_and_a_flat_one_is_not_and_says_so() -> None:
    wrong, gain = error(is_flat=False)
    assert wrong < 0.15 and gain > 0.2
    wrong, gain = error(is_flat=True)
    assert wrong > 0.9 and abs(gain) < 0.05


def small() -> tuple[list[torch.Tensor], torch.Tensor, torch.Tensor]:
    """Clusters of three kinds, emissions of two phones, and the counts of a language."""
    clusters = [torch.tensor([0, 2, 1]), torch.tensor([1]), torch.tensor([2, 2, 0, 1])]
    emissions = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], dtype=torch.float64)
    return clusters, emissions, torch.tensor([[1.0, 4, 2], [3, 2, 5], [6, 1, 0.5]], dtype=torch.float64)


@pytest.mark.parametrize("batch", [512, 2, 1])
def test_expected_counts_and_likelihood_are_those_of_all_paths(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", batch)
    clusters, emissions, language = small()
    stay = 0.3
    inside, start, end = module._transitions(language, stay)
    likelihood, stays, counts = 0.0, 0.0, torch.zeros_like(emissions)
    for codes in clusters:
        whole, gone_on, parts = 0.0, 0.0, torch.zeros_like(emissions)
        for path in itertools.product(range(2), repeat=len(codes)):
            p = float(start[path[0]] * end[path[-1]])
            for before, phone in itertools.pairwise(path):
                p *= float(inside[before, phone])
            for phone, code in zip(path, codes.tolist(), strict=True):
                p *= float(emissions[phone, code])
            whole += p
            # a step to the same phone may also be the language's: it goes on by its share of that step
            goes = [stay / float(inside[a, b]) for a, b in itertools.pairwise(path) if a == b]
            gone_on += p * sum(goes)
            for phone, code in zip(path, codes.tolist(), strict=True):
                parts[phone, code] += p
        likelihood += float(torch.log(torch.tensor(whole, dtype=torch.float64)))
        counts += parts / whole
        stays += gone_on / whole
    nothing = torch.tensor([], dtype=torch.long)  # an utterance without a frame has no part in it
    batches = module._padded([nothing, *clusters])
    expected, stayed, steps, found = module._expect(batches, emissions, stay, language)
    assert found == pytest.approx(likelihood) and steps == 8 and stayed == pytest.approx(stays)
    torch.testing.assert_close(expected, counts)


def test_each_pass_explains_more() -> None:
    clusters, emissions, language = small()
    counts = module.bigram_counts(clusters, 3)
    many, joint = emissions[None], module._joint(language, 0.3)
    before = -1e9
    for _ in range(8):
        many, likelihood = module._count_pass(counts, joint, many)
        assert float(likelihood) > before - 1e-6
        before = float(likelihood)
    found = [module._refined(clusters, emissions, 0.3, language, passes)[0] for passes in range(6)]
    assert all(b > a - 1e-6 for a, b in itertools.pairwise(found))


def test_a_phone_is_read_once_however_long_it_lasts_and_twice_where_it_comes_twice() -> None:
    text = [torch.tensor([0, 0, 1])] * 20
    solution = module.Solution(torch.tensor([[0.9, 0.1], [0.1, 0.9]]), 0.01, 1.0)
    assert read_out(torch.tensor([0, 0, 1]), solution, text, 2) == [0, 0, 1]
    lasting = module.Solution(solution.emissions, 0.6, 1.0)
    assert read_out(torch.tensor([0, 0, 0, 0, 0, 1, 1]), lasting, text, 2) in ([0, 1], [0, 0, 1])
    # to last is likelier than to end and to come once more: 0.4 to 0.6 · 0.5
    assert read_out(torch.tensor([0, 0, 1]), module.Solution(solution.emissions, 0.4, 1.0), text, 2) == [0, 1]
    assert read_out(torch.tensor([], dtype=torch.long), solution, text, 2) == []


def test_a_phone_that_ends_no_sentence_is_not_read_at_the_end() -> None:
    text = [torch.tensor([0, 1]), torch.tensor([1])] * 20  # as often first, but only one of them last
    solution = module.Solution(torch.tensor([[0.6, 0.4], [0.5, 0.5]]), 0.01, 1.0)
    assert read_out(torch.tensor([0]), solution, text, 2) == [1]


def test_a_phone_that_begins_no_sentence_is_not_read_at_the_beginning() -> None:
    text = [torch.tensor([1, 0]), torch.tensor([1])] * 20  # as often last, but only one of them first
    solution = module.Solution(torch.tensor([[0.6, 0.4], [0.5, 0.5]]), 0.01, 1.0)
    assert read_out(torch.tensor([0]), solution, text, 2) == [1]


def test_a_phone_that_the_text_has_not_is_read_where_nothing_else_sounds_so() -> None:
    solution = module.Solution(torch.eye(3), 0.01, 1.0)
    text = [torch.tensor([0, 1])] * 20
    assert read_out(torch.tensor([0, 2, 1]), solution, text, 3) == [0, 2, 1]


def test_a_phone_goes_on_or_ends_or_another_follows() -> None:
    inside, start, end = module._transitions(small()[2], 0.3)
    assert inside.flatten().tolist() == pytest.approx([0.3 + 0.1, 0.4, 0.21, 0.3 + 0.14])
    assert start.tolist() == pytest.approx([6 / 7, 1 / 7]) and end.tolist() == pytest.approx([0.2, 0.35])


def test_a_gain_is_in_bits_for_each_cluster_and_each_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 3 + 5 clusters of two utterances, over the best of fewer starts with a text without its order."""
    told: list[tuple[torch.Tensor, Effort]] = []

    def solved(*given: object) -> tuple[float, torch.Tensor, float]:
        told.append((given[2], given[4]))  # type: ignore[arg-type]
        return math.log(2) * (-10.0 if len(told) == 1 else -26.0), torch.ones(2, 2) / 2, 0.4

    monkeypatch.setattr(module, "_solved", solved)
    clusters = [torch.zeros(3, dtype=torch.long), torch.ones(5, dtype=torch.long)]
    text = [torch.tensor([0, 1])]
    found = decipher(clusters, 2, text, 2, Effort(restarts=40, refined=3, seed=7))
    assert found.gain == pytest.approx(16 / 10) and found.stay == 0.4
    (language, effort), (alone, less) = told
    assert (effort.restarts, effort.refined) == (40, 3) and bool((language > 0).all())
    assert (less.restarts, less.refined, less.seed) == (16, 1, 7)
    torch.testing.assert_close(alone.sum(1), language.sum(1))
    torch.testing.assert_close(alone / alone.sum(1, keepdim=True), (alone.sum(0) / alone.sum()).expand(3, 3))


def test_the_better_half_of_the_starts_goes_on() -> None:
    clusters, _, language = small()
    counts = module.bigram_counts(clusters, 3)

    def after(refined: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        return module._from_counts(counts, language, 0.3, Effort(8, passes=2, refined=refined, seed=seed))

    emissions, likelihoods = after(8)
    assert len(emissions) == 8
    better = emissions[likelihoods.argsort(descending=True)[:4]]
    for _ in range(2):
        better, likelihoods = module._count_pass(counts, module._joint(language, 0.3), better)
    found = after(4)
    torch.testing.assert_close(found[0], better)
    torch.testing.assert_close(found[1], likelihoods)
    assert torch.equal(after(8)[0], emissions) and not torch.equal(after(8, seed=2)[0], emissions)


def test_frequent_clusters_are_guessed_as_frequent_phones() -> None:
    guess = by_frequency(torch.tensor([10, 50, 25, 15]), torch.tensor([30, 60, 10]))
    assert guess.tolist() == [2, 1, 0, 1] or guess.tolist() == [1, 1, 0, 2]


def test_nothing_to_decipher_is_said() -> None:
    for clusters, text in (
        ([], [torch.tensor([0])]),
        ([torch.tensor([0])], [torch.tensor([], dtype=torch.long)]),
    ):
        with pytest.raises(ValueError, match="no clusters or no phones to decipher"):
            decipher(clusters, 1, text, 1, EFFORT)
    with pytest.raises(ValueError, match="`restarts` is 0; expected 1 to 100,000"):
        Effort(restarts=0)


def test_a_phone_lasts_as_sentences_and_utterances_differ_in_length() -> None:
    """3 phones a sentence, 10 clusters an utterance; at most nine of ten go on, at least one of 100."""
    text = [torch.zeros(n, dtype=torch.long) for n in (2, 4, 0)]
    for lengths, expected in (((5, 10, 15), 0.7), ((3,), 0.01), ((2,), 0.01), ((100,), 0.9)):
        clusters = [torch.zeros(n, dtype=torch.long) for n in lengths]
        assert module._stay_by_length(clusters, text) == pytest.approx(expected)


def test_who_says_nothing_gets_256_starts_and_four_of_them_refined() -> None:
    assert vars(Effort()) == {"restarts": 256, "passes": 25, "refined": 4, "passes_after": 15, "seed": 1}
    for name in ("restarts", "passes", "refined"):
        with pytest.raises(ValueError, match=f"`{name}` is 100001; expected 1 to 100,000"):
            Effort(**{name: 100_001})


def test_a_sentence_s_end_does_not_go_on() -> None:
    """Of a language of one phone: it goes on as often as it is followed by another, at even chances."""
    joint = module._joint(torch.tensor([[2.0, 1.0], [1.0, 0.0]], dtype=torch.float64), 0.5)
    torch.testing.assert_close(joint, torch.tensor([[5.0, 1.0], [1.0, 0.0]], dtype=torch.float64) / 7)


def test_of_the_best_starts_the_one_is_taken_that_explains_most_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clusters, _, language = small()
    starts, told = torch.arange(4.0).view(4, 1, 1), list[tuple[float, int]]()

    def refined(_: object, start: torch.Tensor, stay: float, __: object, passes: int) -> tuple[object, ...]:
        told.append((float(start), passes))
        return -abs(float(start) - 2.1), start, stay / 2

    monkeypatch.setattr(module, "_from_counts", lambda *_: (starts, torch.tensor([4.0, 1, 2, 3])))
    monkeypatch.setattr(module, "_refined", refined)
    effort = Effort(restarts=4, refined=3, passes_after=6)
    found = module._solved(clusters, module.bigram_counts(clusters, 3), language, 0.4, effort)
    assert told == [(0, 6), (3, 6), (2, 6)] and (float(found[1]), found[2]) == (2, 0.2)
