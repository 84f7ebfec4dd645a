"""Codes become ids as their symbols would, by integers alone; dictionaries of other codes are refused."""

import copy

import pytest
import torch

from vqw2v_plugin.features.code_ids import CodeIds, UnknownCodes, check_dictionary, parse_symbol


@pytest.mark.parametrize(("groups", "codes"), [(1, 5), (2, 8), (2, 320), (3, 7), (8, 320), (4, 1 << 20)])
def test_ids_are_those_of_the_symbols(groups: int, codes: int) -> None:
    """Also where all there could be are more than 2^63."""
    random = torch.Generator().manual_seed(groups)
    spoken = torch.randint(codes, (300, groups), generator=random)
    symbols = list(dict.fromkeys("-".join(map(str, row)) for row in spoken.tolist()))
    lines = [*symbols[: len(symbols) // 2], "<mask>", "madeupword0000", "7", "1-" * groups + "1", "01-2"]
    table = CodeIds(lines, groups, codes, 4, 3)
    others = torch.randint(codes, (300, groups), generator=random)
    known = {symbol: i for i, symbol in enumerate(lines, 4)}
    for rows in (spoken, others, spoken[:0]):
        expected = [known.get("-".join(map(str, row)), 3) for row in rows.tolist()]
        assert table(rows).tolist() == expected


def test_a_code_beyond_the_last_is_not_the_next_one_s_first() -> None:
    table = CodeIds(["0-4", "1-1"], 2, 4, 4, 3)
    assert table(torch.tensor([[1, 0], [0, 0], [1, 1]])).tolist() == [3, 3, 5]


def test_its_tables_move_and_are_no_state() -> None:
    table = CodeIds(["1-2", "0-3"], 2, 4, 4, 3)
    assert not table.state_dict() and {buffer.device.type for buffer in table.to("meta").buffers()} == {
        "meta"
    }
    assert copy.deepcopy(CodeIds(["1-2"], 2, 4, 0, -1))(torch.tensor([[1, 2], [2, 1]])).tolist() == [0, -1]


def test_what_is_no_code_is_none() -> None:
    assert parse_symbol("12-207") == (12, 207) and parse_symbol("3") == (3,)
    assert not any(map(parse_symbol, ("<mask>", "madeupword0000", "1-2+3-4", "1--2", "-1", "01", "²", "")))


@pytest.mark.parametrize(
    ("symbols", "says"),
    [
        (["1-2", "1-2-3"], r"bert.pt has learnt other codes .* has '1-2-3'; expected 2 codes from 0 to 7"),
        (["5"], "its dictionary has '5'"),
        (["7-7", "7-8"], r"its dictionary has '7-8'; expected 2 codes from 0 to 7, as in '0-0'"),
        (["the", "of"], "has learnt none of the codes .* its first symbol is 'the'"),
        ([], "has learnt none of the codes .* it is empty"),
    ],
)
def test_a_dictionary_of_other_codes_is_refused(symbols: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_dictionary(symbols, 2, 8, "bert.pt")


def test_a_dictionary_may_lack_codes_and_have_fillers() -> None:
    check_dictionary(["7-0", "madeupword0000"], 2, 8, "bert.pt")


def test_unknown_codes_are_counted_in_frames() -> None:
    unknown = UnknownCodes()
    assert unknown.sentences("BERT's dictionary") == []
    codes = torch.tensor([[1, 2], [3, 4], [5, 6]])
    unknown.add(codes, torch.tensor([10, 4, 6]), torch.tensor([False, True, True]))
    unknown.add(codes[1:2], None, torch.tensor([True]))
    assert unknown.sentences("BERT's dictionary") == [
        "11 of 21 frames (52.38%) have codes that are not in BERT's dictionary and became <unk>: 5-6, 3-4"
    ]
    for code, dots in ((7, 0), (8, 0), (9, 0), (10, 1)):
        unknown.add(torch.tensor([[code, 0]]), None, torch.tensor([True]))
        assert "".join(unknown.sentences("it")).count(" …") == dots  # where more than five are meant
    assert unknown.sentences("it")[0].endswith("became <unk>: 5-6, 3-4, 10-0, 7-0, 8-0 …")
