"""What a little of a domain is worth: phones of telephone speech, with and without some of it in pretraining.

    python examples/multilingual/domain.py RUN MANIFEST CORPORA --share 0.1 --sets so762_more/test --bf16

What is said is the same for all trainings: a share of it is heard by telephone too (`telephone.py`), by hours
and with α 0.5. Updates and audio an update are the same. What is finished is in RUN/results.md at once.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compare import HERE, Plan, Row, add_settings, manifests_of, stages, write_table

from vqw2v_plugin.recipes.runner import Stage
from vqw2v_plugin.recipes.table import finish


def domains(args: argparse.Namespace) -> Plan:
    """Without the domain, and with a share of it; each test set as it is, and by telephone."""
    data = manifests_of(args.run)
    rows = [Row("without", "without telephone speech", data / "without.yaml")]
    rows += [
        Row(f"with_{alpha:g}", f"with {args.share:.0%} of it, α {alpha:g}", data / f"with_{alpha:g}.yaml")
        for alpha in (1, 0.5)
    ]
    command = [sys.executable, str(HERE / "telephone.py"), str(data.parent), str(args.manifest.resolve())]
    command += [str(args.corpora.resolve()), "--sets", *args.sets, "--share", str(args.share)]
    made = Stage("data", [command], "Speech by telephone", 2, shown=".")
    sets = [name for plain in args.sets for name in (plain, _by_telephone(plain))]
    return Plan.of(argparse.Namespace(**{**vars(args), "sets": sets}), made, data.parent / "corpora", rows)


def _by_telephone(name: str) -> str:
    corpus, split = name.split("/", 1)
    return f"{corpus}_phone/{split}"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    parser.add_argument("manifest", type=Path, metavar="MANIFEST", help="the speech to learn from")
    parser.add_argument("corpora", type=Path, metavar="CORPORA", help="folder of the test corpora")
    parser.add_argument("--share", type=float, default=0.1, help="of the speech, by telephone too")
    add_settings(parser, ["so762_more/test"])
    parser.set_defaults(no_map=True)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    return finish("domain.py", "results.md", lambda: domains(args), stages, write_table)


if __name__ == "__main__":
    sys.exit(main())
