"""Stages of tests: their commands are lines of Python."""

import sys


def python(code: str) -> list[list[str]]:
    """The one command that runs it, as a stage takes its commands."""
    return [[sys.executable, "-c", code]]
