"""Groups × variables of the codebook, quantized after the context network: word errors against bits a second.

    python examples/digits/sweep.py FSDD RUN [--unlabelled MANIFEST …] [--sizes 1x16 2x40 …]

Each size is pretrained, and the acoustic model trained on its quantized vectors. A finished row is in
RUN/sweep.md at once; a killed run resumes where it stopped. RUN may be that of compare.py.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Set

import numpy as np
from compare import GUMBEL
from plan import Input, Plan, Row, add_arguments, corpus_data, rates
from stages import stages, tokens

from vqw2v_plugin.analysis.code_sources import TokenSource
from vqw2v_plugin.analysis.phone_codes import Bitrate, code_usage
from vqw2v_plugin.common.files import write_whole
from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish, spread

SIZES = ("1x16", "1x64", "1x320", "2x16", "2x40", "2x160", "4x40")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_arguments(parser)
    parser.add_argument(
        "--sizes", nargs="+", default=SIZES, metavar="GxV", help=f"default: {' '.join(SIZES)}"
    )
    args = parser.parse_args()
    return finish("sweep.py", "sweep.md", lambda: make_plan(args), with_codes, write_table)


def make_plan(args: argparse.Namespace) -> Plan:
    inputs = {size: quantized(size) for size in args.sizes}
    return Plan.of(args, inputs, [Row("digits", size, 1.0, 1) for size in inputs])


def quantized(size: str) -> Input:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size)
    if not found:
        raise ValueError(f"`--sizes` has {size!r}; expected GROUPSxVARIABLES, such as 2x40")
    groups, codes = found.groups()
    settings = ("+model.quantizer_position=context", f"+model.vq_groups={groups}", f"model.vq_vars={codes}")
    return Input(size, f"context_{size}", "q", settings=(*GUMBEL, *settings))


def with_codes(plan: Plan) -> Iterator[Stage]:
    """The stages of every row, and after each pretraining its codes for the test set."""
    models = {chosen.model for chosen in plan.inputs.values()}
    for stage in stages(plan):
        yield stage
        if stage.name in models:
            yield tokens(plan, stage.name, corpus_data(plan, "digits"), ("test",), f"{stage.name}_test_codes")


def write_table(plan: Plan, done: Set[str]) -> None:
    """A table of the sizes that have finished."""
    lines = [
        "| groups × variables | kbit/s, nominal | its entropy | codes in use | greedy | lexicon, 4-gram |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for row in plan.rows:
        found = [rates(plan, [row], decoder, done) for decoder in ("greedy", "lexicon")]
        if all(found):
            lines.append("| " + " | ".join([row.features, *codes(plan, row), *map(spread, found)]) + " |")
    write_whole(plan.run / "sweep.md", "\n".join(lines) + "\n")


def codes(plan: Plan, row: Row) -> list[str]:
    """The test set's bitrates, nominal and by entropy, and the share of codes in use."""
    folder = plan.run / f"{plan.inputs[row.features].model}_test_codes" / "data"
    source = TokenSource.of(row.features, folder)
    found = source.codes(source.known["test"])
    usage = code_usage(np.concatenate(list(found.values())), source.num_codes)
    bits = Bitrate.of(found.values(), usage, source.times.rate)
    return [f"{bits.nominal / 1000:.2f}", f"{bits.entropy / 1000:.2f}", f"{usage.share_used:.0%}"]


if __name__ == "__main__":
    sys.exit(main())
