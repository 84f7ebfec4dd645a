"""wav → tokens, how long it takes: `vqw2v discretize` against what stock fairseq's featurizing script does.

Stock's script calls `.cuda()`; here stock's `Wav2VecModel` does the same on the CPU: a file at a time,
features, codes, a line of text. Both sides have the same weights, files and cores and take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

logging.disable(logging.WARNING)
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from vqw2v_plugin.checkpoints.stock_wav2vec import (  # noqa: E402
    wav2vec_settings_of_stock,
    wav2vec_weights_of_stock,
)
from vqw2v_plugin.checkpoints.wav2vec import (  # noqa: E402
    Imported,
    Loaded,
    build_network,
    save_checkpoint,
)
from vqw2v_plugin.common.locks import Rank  # noqa: E402
from vqw2v_plugin.corpora.manifest import Manifest, Utterance, write_manifest  # noqa: E402
from vqw2v_plugin.jobs.discretize import DiscretizeOptions, discretize  # noqa: E402
from vqw2v_plugin.tokenizer import Tokenizer  # noqa: E402

_RUN = """
import sys
from vqw2v_plugin.__main__ import main
status = main(sys.argv[1:])
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
sys.exit(status)
"""
SMALL = {"conv_feature_layers": "[(64, 10, 5), (64, 8, 4), (64, 4, 2), (64, 4, 2), (64, 4, 2)]"}


def models(quantizer: str, folder: Path, small: bool = False) -> tuple[Any, str]:
    """Stock's network and a checkpoint of ours, with the same random weights."""
    from fairseq.models.wav2vec.wav2vec import Wav2VecConfig, Wav2VecModel

    torch.manual_seed(1)
    config = Wav2VecConfig()
    settings = {"vq_type": quantizer, "vq_depth": 2, "vq_vars": 320, "vq_groups": 2, "combine_groups": True}
    for name, value in {**settings, **(SMALL if small else {})}.items():
        setattr(config, name, value)
    stock = Wav2VecModel(config).eval()
    network = build_network(wav2vec_settings_of_stock(vars(config))).eval()
    network.load_state_dict(wav2vec_weights_of_stock(stock.state_dict(), network))
    path = folder / f"{quantizer}{'-small' if small else ''}.pt"
    save_checkpoint(Imported(Loaded(network, 16_000, False), False, 0, []), path, force=True)
    return stock, str(path)


def stock_codes(stock: Any, path: str) -> np.ndarray[Any, Any]:  # [T, G]
    """What the script does with one file, whose longest piece (1.3 M samples) no file here reaches."""
    wav, rate = soundfile.read(path, dtype="float32")
    assert rate == 16_000 and len(wav) <= 1_300_000, path
    z = stock.feature_extractor(torch.from_numpy(wav).unsqueeze(0).float())
    with torch.no_grad():
        _, codes = stock.vector_quantizer.forward_idx(z)
    found: np.ndarray[Any, Any] = codes.squeeze(0).cpu().numpy()
    return found


def run_stock(stock: Any, rows: list[Utterance], dtype: str, threads: int) -> float:
    torch.set_num_threads(threads)
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16) if dtype == "bf16" else contextlib.nullcontext():
        for row in rows:
            " ".join("-".join(map(str, frame)) for frame in stock_codes(stock, row.path).tolist())
    return time.perf_counter() - begin


def run_ours(tokenizer: Tokenizer, checkpoint: str, manifest: Manifest, dtype: str, threads: int) -> float:
    """All of it but loading the checkpoint: reading, shards, dictionary, data set."""
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stderr(io.StringIO()):
        begin = time.perf_counter()
        options = DiscretizeOptions(dtype=dtype, workers=threads)
        discretize(tokenizer, checkpoint, manifest, out, options, Rank())
        return time.perf_counter() - begin


def sample(manifest: Manifest, seconds: float, folder: Path) -> Manifest:
    """The first rows, until they have so many seconds."""
    rows: list[dict[str, Any]] = []
    held = 0
    for i in range(len(manifest)):
        rows.append({"path": os.path.abspath(manifest[i].path), "samples": manifest[i].samples})
        held += manifest[i].samples
        if held >= seconds * 16_000:
            break
    write_manifest(folder / "sample.tsv", "/", rows)
    return Manifest(folder / "sample.tsv")


def compare(manifest: Manifest, quantizer: str, args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Rows of a table: times real time, the sides taking turns, the best round of each."""
    stock, checkpoint = models(quantizer, folder)
    rows = [manifest[i] for i in range(len(manifest))]
    audio = sum(row.samples for row in rows) / 16_000
    best: dict[tuple[str, str], float] = {}
    sides = {dtype: Tokenizer.load(checkpoint, dtype=dtype) for dtype in args.precisions}
    for turn in range(args.rounds + 1):  # the first one warms up, on a few files
        few = turn == 0
        for dtype, tokenizer in sides.items():
            part = sample(manifest, 10, folder) if few else manifest
            times = {
                "stock": run_stock(stock, rows[:3] if few else rows, dtype, args.threads),
                "ours": run_ours(tokenizer, checkpoint, part, dtype, args.threads),
            }
            for side, seconds in times.items():
                if not few:
                    best[side, dtype] = min(best.get((side, dtype), np.inf), seconds)
    for (side, dtype), seconds in best.items():
        ratios = [
            f"{best['stock', d] / seconds:.2f} ×" if ("stock", d) in best else "" for d in ("fp32", "bf16")
        ]
        yield f"| {quantizer} | {side} | {dtype} | {audio / seconds:.1f} | {' | '.join(ratios)} |"


def equality(manifest: Manifest, quantizer: str, folder: Path, threads: int) -> str:
    """Every file's codes against stock's; where they differ, fp64 says how near a tie it was."""
    stock, checkpoint = models(quantizer, folder)
    torch.set_num_threads(threads)
    tokenizer = Tokenizer.load(checkpoint)
    exact = Tokenizer.load(checkpoint).network.double()
    total = differ = with_ours = with_stock = files = 0
    margin = 0.0
    for i in range(len(manifest)):
        path = manifest[i].path
        with torch.no_grad():
            theirs, ours = stock_codes(stock, path), tokenizer.encode_file(path).numpy()
        total, wrong = total + ours.size, np.argwhere(theirs != ours)
        if not len(wrong):
            continue
        files, differ = files + 1, differ + len(wrong)
        scores = _scores(exact, soundfile.read(path, dtype="float64")[0])  # [T, G, V]
        for t, g in wrong.tolist():
            own = scores[t, g]
            best = int(own.argmax())
            with_ours += best == ours[t, g]
            with_stock += best == theirs[t, g]
            gap = abs(float(own[ours[t, g]] - own[theirs[t, g]])) / float(own.abs().max())
            margin = max(margin, gap)
    said = "all equal to stock's"
    if differ:
        said = (
            f"{differ} in {files} files differ from stock's; fp64 sides with ours in {with_ours} of them, "
            f"with stock in {with_stock}; the two scores are at most {margin:.1e} of the largest apart"
        )
    return f"{quantizer}: {total:,} codes of {len(manifest)} files in fp32: {said}."


@torch.no_grad()
def _scores(network: Any, wav: np.ndarray[Any, Any]) -> torch.Tensor:  # [S] → [T, G, V]
    """What the quantizer chooses the largest of."""
    z, quantizer = network.encoder(torch.from_numpy(wav)[None]), network.quantizer
    if hasattr(quantizer, "logits"):
        return quantizer.logits(z)[0]  # type: ignore[no-any-return]
    groups = quantizer.project(z)[0].unflatten(-1, (quantizer.num_groups, -1))  # [T, G, D]
    entries = quantizer.codebook.table  # [G or 1, V, D]
    return (
        -torch.cdist(groups.transpose(0, 1), entries.expand(groups.size(1), -1, -1)).square().transpose(0, 1)
    )


def growth(manifest: Manifest, hours: float, folder: Path, threads: int) -> str:
    """The command in a process of its own, on the manifest's files again and again; a small model."""
    _, checkpoint = models("gumbel", folder, small=True)
    audio = sum(manifest.sizes.tolist()) / 16_000
    repeats = max(1, round(hours * 3600 / audio))
    rows = (
        {"path": os.path.abspath(manifest[i].path), "samples": manifest[i].samples, "utt": f"{n}-{i}"}
        for n in range(repeats)
        for i in range(len(manifest))
    )
    path = folder / f"hours{hours:g}.tsv"
    write_manifest(path, "/", rows, ("path", "samples", "utt"))
    command = [sys.executable, "-c", _RUN, "discretize", checkpoint, str(path), str(folder / path.stem)]
    command += ["--workers", str(threads)]
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, peak = time.perf_counter() - begin, int(done.stdout.split()[-1]) / 1024
    begin = time.perf_counter()
    from vqw2v_plugin.stores.tokens import TokenStore

    store = TokenStore(folder / path.stem, path.stem)
    opened = time.perf_counter() - begin
    real = repeats * audio
    return (
        f"| {real / 3600:.2f} | {len(store):,} | {seconds:.1f} | {real / seconds:.0f} | "
        f"{peak:.0f} | {1000 * opened:.1f} |"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0], allow_abbrev=False)
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    parser.add_argument("manifest", help="recorded speech at 16 kHz")
    parser.add_argument("--seconds", type=float, default=60, help="audio of a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="cores of either side")
    parser.add_argument("--quantizers", nargs="+", default=["gumbel", "kmeans"])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument(
        "--equality", nargs="*", default=[], metavar="MANIFEST", help="compare all codes of these"
    )
    parser.add_argument("--growth", type=float, nargs="*", default=[], metavar="HOURS")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    units = "AMX" if "amx_bf16" in flags else "no AMX" + (", AVX512-BF16" if "avx512_bf16" in flags else "")
    print(
        f"torch {torch.__version__}, {platform.machine()}, {units}, {args.threads} threads, load {load:.1f}\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.rounds:
            print("| quantizer | side | precision | × real time | against stock fp32 | against stock bf16 |")
            print("| --- | --- | --- | --- | --- | --- |")
            part = sample(Manifest(args.manifest), args.seconds, folder)
            for quantizer in args.quantizers:
                for line in compare(part, quantizer, args, folder):
                    print(line, flush=True)
        for manifest in args.equality:
            for quantizer in args.quantizers:
                print(
                    "\n" + Path(manifest).stem,
                    equality(Manifest(manifest), quantizer, folder, args.threads),
                    flush=True,
                )
        if args.growth:
            print("\n| hours | utterances | seconds | × real time | peak MiB | ms to open |")
            print("| --- | --- | --- | --- | --- | --- |")
            for hours in args.growth:
                print(growth(Manifest(args.manifest), hours, folder, args.threads), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
