"""What tests of training share: none begins with the numbers that another has logged."""

import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def logged_by_itself() -> Iterator[None]:
    """fairseq keeps what is logged under a name, such as `train`, for the whole process."""
    yield
    if (metrics := sys.modules.get("fairseq.logging.metrics")) is not None:
        metrics.reset()
