"""What fairseq's programs make of our errors: one sentence, where Python would write a traceback above it.

Python's hook for what nobody has caught is replaced, in these programs alone. VQW2V_LOUD=1 shows the
traceback; errors of fairseq, of torch and of other plugins keep theirs.
"""

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Optional, Type

from ..common.loud import LOUD, is_loud
from ..common.said import DECLARED, is_said
from ..common.words import lines_of, sentence
from .update_guard import NumericalTroubleError

_OURS = (*DECLARED, NumericalTroubleError)


def tell() -> None:
    """From here on our errors are sentences; safe to call twice."""
    if is_loud() or not _is_fairseqs(sys.argv[0]):
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # or hydra writes a traceback itself, and ends
    sys.excepthook = _tell


def _is_fairseqs(program: str) -> bool:
    path = Path(program)
    return path.name.startswith("fairseq-") or path.parent.name == "fairseq_cli"


def _tell(kind: Type[BaseException], error: BaseException, trace: Optional[TracebackType]) -> None:
    if not (isinstance(error, _OURS) and is_said(error)):
        sys.__excepthook__(kind, error, trace)
        return
    sys.stdout.flush()
    said = "\n".join(map(sentence, lines_of(str(error)))) or kind.__name__
    print(f"{Path(sys.argv[0]).stem}: error: {said}\n({LOUD}=1 shows where in the program)", file=sys.stderr)
