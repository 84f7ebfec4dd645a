"""The fuzzer finds what is planted, knows a sentence of ours from Python's own, and finds nothing today."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tries
from campaign import Fuzzer, mutant, shrink
from cases import Finding, read_files, write_files
from judge import PACKAGE, judge
from reached import Reached
from seed_files import SEEDS, TRAINED
from structures import CODECS, mutate
from targets import TARGETS, Target
from tries import tried

from vqw2v_plugin.corpora.manifest import Manifest

HERE = Path(__file__).parent
FILE = {"m.tsv": b"audio\na.wav\t1\n"}


def make(folder: Path) -> None:
    write_files(FILE, folder / "seed")


def number_of(folder: Path) -> int:
    return int((folder / "m.tsv").read_bytes().split()[-1])


def unnamed(folder: Path) -> None:
    try:
        Manifest(folder / "m.tsv")
    except ValueError as error:
        type(error).__init__(error, "expected something else")
        raise


def test_a_sentence_of_ours_is_no_finding(tmp_path: Path) -> None:
    write_files({"m.tsv": b"audio\na.wav\n"}, tmp_path)
    assert judge(lambda folder: Manifest(folder / "m.tsv"), tmp_path) == ""
    assert judge(lambda folder: Manifest(folder / "n.tsv"), tmp_path) == ""


@pytest.mark.parametrize(
    "read, why",
    [
        (number_of, "ValueError at no file of ours is not a sentence of ours"),
        (unnamed, "names no file"),
        (lambda folder: {}["x"], "KeyError"),
        (lambda folder: (folder / "gone").read_bytes(), ""),
        (lambda folder: "é".encode("ascii"), "UnicodeEncodeError"),
    ],
)
def test_what_is_no_sentence_is_a_finding(read: Callable[[Path], object], why: str, tmp_path: Path) -> None:
    write_files({"m.tsv": b"audio\na.wav\n"}, tmp_path)
    found = judge(read, tmp_path)
    assert why in found and bool(found) == bool(why)


@pytest.mark.parametrize(
    "read, why",
    [
        (lambda folder: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda folder: os._exit(3), "exit status 3"),
        (lambda folder: [None for _ in iter(int, 1)], "hangs: more than 0.2 seconds"),
        (lambda folder: os.read(os.pipe()[0], 1), "hangs: waits for 0.5 s"),
        (lambda folder: len(bytearray(1 << 40)), "MemoryError"),
        (lambda folder: 0, ""),
    ],
)
def test_a_death_has_its_reason(
    read: Callable[[Path], object], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "CPU_SECONDS", 0.2)
    monkeypatch.setattr(tries, "WALL_SECONDS", 0.5 if "waits" in why else 60)
    monkeypatch.setattr(tries, "MEMORY", 1 << 26)
    found = tried(read, FILE, tmp_path / "case")
    assert found.startswith(why) and bool(found) == bool(why)


SWELLS = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[2:]
import tries
tries.MEMORY = 1 << 26
print(tries.tried(lambda folder: len(b"x" * (60 << 20)), {"x": b""}, Path(sys.argv[1]) / "case"))
"""


def test_what_takes_much_memory_is_told(tmp_path: Path) -> None:
    """From a process of its own: below what a larger one has freed, nothing shows."""
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-c", SWELLS, str(tmp_path), str(here), str(here.parent)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=here.parents[1])
    assert done.stdout.startswith("takes "), done.stdout + done.stderr


def test_a_planted_fault_is_found_and_made_small(tmp_path: Path) -> None:
    def read(folder: Path) -> None:
        manifest = Manifest(folder / "m.tsv")
        assert len(manifest) < 3, "planted"

    write_files({"m.tsv": b"audio\n" + b"a.wav\t1\n" * 2 + b"\n" * 200}, tmp_path / "made" / "seed")
    target = Target("t", lambda folder: write_files({}, folder), read)
    fuzzer = Fuzzer(target, 0, tmp_path / "home", tmp_path / "found")
    write_files(read_files(tmp_path / "made" / "seed"), fuzzer.corpus / "000000")
    found: list[Path] = []
    for _ in range(30):  # seconds: the machine may be busy
        if not found:
            fuzzer.run(1)
            found = list((tmp_path / "found").glob("*.json"))
    (path,) = found
    finding = Finding.read(path)
    assert finding.target == "t" and finding.why.startswith("AssertionError")
    TARGETS["t"] = target
    try:
        small = shrink(finding, tmp_path / "case", tries=14)
    finally:
        del TARGETS["t"]
    assert len(small.files["m.tsv"]) < len(finding.files["m.tsv"])
    assert tried(read, small.files, tmp_path / "case").startswith("AssertionError")


def test_a_finding_is_read_as_it_was_written(tmp_path: Path) -> None:
    files = {"a/b": bytes(range(256)) * 3, "c": "é\r\n\0".encode(), "empty": b"", "long": b"x" * 9000}
    finding = Finding("dict", "why", files, "1/dict/2")
    assert Finding.read(finding.write(tmp_path)) == finding


@pytest.mark.parametrize("name", ["gumbel.pt", "folder/model.safetensors", "folder/config.json"])
def test_structures_survive_their_codec(name: str) -> None:
    content = (TRAINED / name).read_bytes()
    ways = 0
    for codec in CODECS:
        try:
            tree = codec.read(content)
        except Exception:
            continue
        ways += 1
        assert str(codec.read(codec.write(tree))) == str(tree)
    assert ways


def test_lines_are_reached_for_the_first_time_once(tmp_path: Path) -> None:
    write_files(FILE, tmp_path)
    reached = Reached(PACKAGE)
    assert reached.new(lambda: Manifest(tmp_path / "m.tsv")) > 20
    assert reached.new(lambda: Manifest(tmp_path / "m.tsv")) == 0
    assert 0 < reached.new(lambda: judge(lambda folder: Manifest(folder / "none.tsv"), tmp_path)) < 20


def test_a_seed_makes_the_same_mutants_and_another_seed_others() -> None:
    corpus = [read_files(folder) for folder in sorted((SEEDS / "manifest").iterdir())]

    def some(seed: int) -> list[dict[str, bytes]]:
        rng = random.Random(seed)
        return [mutant(corpus, rng) for _ in range(50)]

    assert some(1) == some(1) != some(2)


def test_anything_can_be_mutated() -> None:
    rng = random.Random(0)
    for content in (
        b"",
        b"\0",
        b"{}",
        b"[]",
        b'{"a": [1, {"b": null}]}',
        b"\x93NUMPY\x01\x00",
        b"PK\5\6" + bytes(18),
    ):
        for _ in range(100):
            assert isinstance(mutate(content, b"", rng), bytes)


@pytest.mark.slow
def test_a_minute_of_fuzzing_finds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "campaign.py"), "--seconds", "40", "--seed", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--findings", str(tmp_path / "found")], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert ", 0 findings" in done.stdout
