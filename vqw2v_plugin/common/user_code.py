"""A plugin of the user's own, about any arrow: imported as fairseq's `--user-dir` imports it.

Nothing here is found by itself, and no file names code that is run: the user names the folder.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

_OURS = Path(__file__).resolve().parents[1]


def use_user_dir(folder: str | os.PathLike[str] | None) -> None:
    """Imports the package in `folder`, which registers what it brings; safe to call twice."""
    if folder is None or Path(folder).resolve() == _OURS:
        return
    path = Path(folder).resolve()
    if not (path / "__init__.py").is_file():
        raise ValueError(
            f"`--user-dir` is {folder}, which holds no __init__.py; expected the folder of a package that "
            "imports vqw2v_plugin and registers its own classes"
        )
    there = sys.modules.get(path.name)
    if there is not None:
        if Path(str(there.__file__)).resolve() == path / "__init__.py":
            return
        raise ValueError(f"`--user-dir` is {folder}, but another module is called {path.name}; rename it")
    sys.path.insert(0, str(path.parent))
    try:
        importlib.import_module(path.name)
    except Exception as error:
        sys.modules.pop(path.name, None)
        said = f"{type(error).__name__}: {error}"
        raise ValueError(f"`--user-dir` is {folder}, which cannot be imported ({said}); mend it") from error
    finally:
        sys.path.remove(str(path.parent))
