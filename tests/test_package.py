"""The package as others install it: a wheel holds types, pages and yaml, and says where they lie."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vqw2v_plugin.__main__ import main
from vqw2v_plugin.commands.path import settings_folders

ROOT = Path(__file__).resolve().parents[1]
YAML = ("settings/acoustic/tiny.yaml", "settings/wav2vec2/finetuning/base_10m.yaml")
PARTS = ("vqw2v_plugin", "examples", "setup.py", "pyproject.toml", "README.md", "LICENSE")


def test_path_names_the_yaml_of_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["path", "acoustic"]) == 0
    assert (Path(capsys.readouterr().out.strip()) / "tiny.yaml").is_file()
    with_yaml = {str(path.parent.relative_to(ROOT / "examples")) for path in ROOT.glob("examples/**/*.yaml")}
    assert set(settings_folders()) == with_yaml >= {"acoustic", "utterance", "wav2vec2/finetuning"}
    assert main(["path", "nothing"]) == 2
    assert "no yaml is of 'nothing'; expected one of acoustic, bert" in capsys.readouterr().err


def test_the_changes_name_the_version() -> None:
    import vqw2v_plugin

    assert f"## {vqw2v_plugin.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_a_wheel_works_by_itself(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    for name in PARTS:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / "source" / name)  # type: ignore[operator]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    made = [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(tmp_path / "source")]
    subprocess.run(made, check=True, cwd=tmp_path, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    held = zipfile.ZipFile(wheel).namelist()
    for name in ("py.typed", "analysis/report_page/page.css", *YAML):
        assert f"vqw2v_plugin/{name}" in held
    assert not [name for name in held if name.startswith(("tests/", "examples/", "benchmarks/"))]
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(tmp_path / "there"), str(wheel)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    script = "import sys; sys.path.insert(0, 'there'); import vqw2v_plugin as p; "
    script += (
        "from vqw2v_plugin.__main__ import main; print(p.__file__, p.__version__); main(['path', 'acoustic'])"
    )
    said = subprocess.run(
        [sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True, text=True, timeout=120
    ).stdout.splitlines()
    assert said[0].startswith(str(tmp_path / "there"))
    assert said[1] == str(tmp_path / "there" / "vqw2v_plugin" / "settings" / "acoustic")
