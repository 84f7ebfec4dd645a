"""letters ──decoder──▶ text by the other side: pyctcdecode, in its own environment; see beam.py.

Reads the job that beam.py wrote (a json and its emissions), prints texts and seconds as json.
"""

import json
import sys
import time

import numpy as np
from pyctcdecode import build_ctcdecoder


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    emissions = np.load(job["emissions"])
    names = {job["blank"]: "", "|": " "}
    labels = [names.get(symbol, symbol) for symbol in job["symbols"]]
    decoder = build_ctcdecoder(labels, job["lm"], job["words"])
    answers = []
    for run in job["runs"]:
        decoder.reset_params(
            alpha=run["lm_weight"] / np.log(10), beta=run["word_score"], unk_score_offset=run["unk_score"]
        )
        tables = [emissions[f"arr_{number}"] for number in run["numbers"]]
        begun = time.perf_counter()
        texts = [
            decoder.decode(table, beam_width=run["beam"], beam_prune_logp=-run["beam_threshold"])
            for table in tables
        ]
        answers.append({"texts": texts, "seconds": time.perf_counter() - begun})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
