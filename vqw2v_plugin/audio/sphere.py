"""NIST SPHERE wavs, as in LDC's older corpora: libsndfile reads them, except those packed by `shorten`."""

from ..common.inputs import check_file

_HEADER = 1024  # bytes, as `NIST_1A` says in its second line
_SHORTENED = (
    "is NIST SPHERE packed by shorten: unpack it beside it, with `sph2pipe -f wav X.wv1 X.wav` "
    "(libsndfile cannot read sample_coding {coding})"
)


def shorten_refusal(path: str) -> str | None:
    """Why a SPHERE file cannot be read; None if its samples are not packed, or it is not such a file."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            head = file.read(_HEADER)
    except OSError:
        return None  # whoever reads its header will report that
    if not head.startswith(b"NIST_1A"):
        return None
    lines = (line.split() for line in head.split(b"\n"))
    coding = next((line[2] for line in lines if len(line) > 2 and line[0] == b"sample_coding"), b"pcm")
    if not any(packed in coding for packed in (b"shorten", b"wavpack", b"shortpack")):
        return None
    return _SHORTENED.format(coding=coding.decode("latin-1"))
