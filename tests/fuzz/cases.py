"""Cases: a folder's files as a reader finds them, and on disk as findings that tests replay."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path

Files = dict[str, bytes]  # by their names under the folder
FINDINGS = Path(__file__).parent / "findings"


@dataclass(frozen=True)
class Finding:
    """What a target made of some files that it should not; `seed` is the campaign's."""

    target: str
    why: str
    files: Files
    seed: str = ""

    @property
    def name(self) -> str:
        content = json.dumps([self.target, {k: v.hex() for k, v in sorted(self.files.items())}])
        return f"{self.target}-{hashlib.sha256(content.encode()).hexdigest()[:10]}.json"

    def write(self, folder: Path) -> Path:
        """A json with the first line of `why`; what is text stands in it as text."""
        folder.mkdir(parents=True, exist_ok=True)
        held = {name: _held(content) for name, content in sorted(self.files.items())}
        said = {"target": self.target, "why": self.why.splitlines()[0], "seed": self.seed, "files": held}
        path = folder / self.name
        path.write_text(json.dumps(said, indent=1) + "\n")
        return path

    @classmethod
    def read(cls, path: Path) -> Finding:
        said = json.loads(path.read_text())
        files = {name: _content(held) for name, held in said["files"].items()}
        return cls(said["target"], said["why"], files, said["seed"])


def read_files(folder: Path) -> Files:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_files(files: Files, folder: Path) -> None:
    """These files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _held(content: bytes) -> dict[str, str]:
    try:
        if len(content) < 4000:
            return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        pass
    return {"zlib": base64.b64encode(zlib.compress(content, 9)).decode()}


def _content(held: dict[str, str]) -> bytes:
    return held["text"].encode() if "text" in held else zlib.decompress(base64.b64decode(held["zlib"]))
