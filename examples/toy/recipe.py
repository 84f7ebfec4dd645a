"""The toy recipe, `make demo`: synthetic speech → vq-wav2vec, Gumbel and k-means → how codes are used."""

import argparse
import os
import sys
from pathlib import Path

import vqw2v_plugin
from vqw2v_plugin.recipe import Stage, StageError, run_recipe

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent


def stages(run: Path, minutes: float) -> list[Stage]:
    vqw2v = [str(BIN / "vqw2v")]
    corpus = run / "corpus" / "data"
    listed = [
        Stage(
            "corpus",
            [
                *vqw2v,
                "toy",
                str(corpus),
                "--minutes",
                f"{minutes:g}",
                "--speakers",
                "6",
                "--languages",
                "en,de",
            ],
            f"Making {minutes:g} minutes of speech: 6 voices, English and German",
            0.1,
            show=True,
        )
    ]
    for quantizer in ("gumbel", "kmeans"):
        folder = run / quantizer
        listed += [
            Stage(
                quantizer,
                train_command(quantizer, corpus, folder),
                f"Training vq-wav2vec by {quantizer}; accuracy is 0.09 by chance, perplexity at most 16",
                1.5,
                progress="train_inner",
            ),
            Stage(
                f"{quantizer}_usage",
                [
                    *(*vqw2v, "usage", str(folder / "checkpoint_last.pt"), str(corpus / "train.tsv")),
                    *("--phones", str(corpus / "train.phones.ctm"), "--untrained"),
                ],
                f"How {quantizer} uses its codes, beside a network that has learnt nothing",
                0.2,
                show=True,
            ),
        ]
    return listed


def train_command(quantizer: str, corpus: Path, folder: Path) -> list[str]:
    return [
        *(str(BIN / "fairseq-hydra-train"), "--config-dir", str(HERE), "--config-name", quantizer),
        *(
            f"common.user_dir={Path(vqw2v_plugin.__file__).parent}",
            f"task.data={corpus}",
            f"checkpoint.save_dir={folder}",
        ),
        f"hydra.run.dir={folder}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="The toy recipe; a second run goes on where the first stopped."
    )
    parser.add_argument("run", type=Path, help="folder of the run, such as runs/toy")
    parser.add_argument("--minutes", type=float, default=10, help="speech to make (default: %(default)s)")
    args = parser.parse_args()
    run = args.run.resolve()
    # torch's and the workers' threads share two cores better when each process keeps to few
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    try:
        run_recipe(run, stages(run, args.minutes))
    except (StageError, KeyboardInterrupt) as error:
        print(
            f"demo: {error or 'interrupted'}; the same command goes on where this one stopped",
            file=sys.stderr,
        )
        return 1
    print(f"\nCheckpoints: {run}/gumbel/checkpoint_last.pt and {run}/kmeans/checkpoint_last.pt")
    print("Next: pretrain on your own audio with examples/vq_wav2vec/gumbel.yaml (README, Pretrain).")
    return 0


if __name__ == "__main__":
    sys.exit(main())
