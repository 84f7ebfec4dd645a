"""What README and pages show is so: commands run, options exist, python compiles, links lead somewhere."""

import re
from fnmatch import fnmatch
from pathlib import Path

import documented
import pytest
from documented import DOCUMENTS, ROOT, Block, Command, DocumentError
from documented_checks import PROGRAMS, check, check_in_sentence

pytest.importorskip("fairseq")
pytest.importorskip("espeakng_loader")  # speaks the sandbox's corpus
from documented_options import known_keys_of, unknown_keys, unknown_options
from documented_runs import Sandbox, reason_not_to_run

import vqw2v_plugin

vqw2v_plugin.register()

COMMANDS = [command for document in DOCUMENTS for command in documented.commands(document)]
PLAIN = [c for document in DOCUMENTS for c in documented.plain_commands(document, set(PROGRAMS))]
RUN = [command for command in COMMANDS if not reason_not_to_run(command)]


def place(value: object) -> str | None:
    return value.where if isinstance(value, Command) else None


def name(value: object) -> str:
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else str(value)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("sandbox"), COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN, ids=place)
def test_every_command_runs(command: Command, sandbox: Sandbox) -> None:
    ended = sandbox.run(command)
    assert ended.status == 0, f"{' '.join(command.words)}\n{ended.said[-3000:]}"


@pytest.mark.parametrize("command", COMMANDS + PLAIN, ids=place)
def test_every_command_s_program_options_and_files_exist(command: Command, tmp_path: Path) -> None:
    check(command, tmp_path)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_what_sentences_name_exists(document: Path) -> None:
    for command in documented.inline_commands(document, set(PROGRAMS)):
        check_in_sentence(command)
    text = document.read_text(encoding="utf-8")
    assert not unknown_options(text), "no program has these options"
    assert not unknown_keys(text), "no config has these keys"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    for link in documented.links(document):
        file, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = document.parent / file if file else document
        assert target.exists(), f"{link}: there is no {target}"
        if anchor:
            page = target / "README.md" if target.is_dir() else target
            assert anchor in documented.anchors(page), f"{link}: {page} has no such heading"


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_python_blocks_compile(document: Path) -> None:
    for block in documented.blocks(document):
        if block.language == "python":
            compile("\n" * (block.line - 1) + block.text, str(document), "exec")


@pytest.mark.parametrize("page", [d for d in DOCUMENTS if d.name == "README.md"][2:], ids=name)
def test_a_page_names_the_scripts_and_settings_beside_it(page: Path) -> None:
    code = re.findall(r"`([^`\s]+)", page.read_text(encoding="utf-8"))
    for path in [*page.parent.glob("*.yaml"), *page.parent.glob("*.py")]:
        if path.suffix == ".yaml" or "argparse" in path.read_text(encoding="utf-8"):
            assert any(fnmatch(path.name, word) for word in code), f"{page} does not name {path.name}"


def test_every_option_of_stock_s_is_here_or_in_the_table_of_moving() -> None:
    models, tasks, criterions = (known_keys_of(group) for group in ("model", "task", "criterion"))
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Moving from stock")[2]
    pairs = [(models, "wav2vec", "vq_wav2vec"), (criterions, "wav2vec", "vq_contrastive")]
    pairs += [(models, "wav2vec_ctc", "vq_wav2vec2_ctc"), (criterions, "ctc", "vq_ctc")]
    pairs += [(models, "wav2vec2", "vq_wav2vec2"), (criterions, "wav2vec", "vq_masked_contrastive")]
    pairs += [
        (tasks, "audio_pretraining", "vq_audio_pretraining"),
        (tasks, "masked_lm", "vq_token_pretraining"),
    ]
    for known, stock, ours in pairs:
        gone = known[stock] - known[ours] - {"_name", "tpu"}
        assert gone, "nothing to compare"
        unnamed = [name for name in gone if f"--{name.replace('_', '-')}" not in table]
        assert not unnamed, f"{stock}: README.md does not say what became of {', '.join(unnamed)}"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("vqw2v discretise a b c", "no such command of vqw2v"),
        ("vqw2v usage a.pt --fones x", "unrecognized arguments: --fones"),
        (
            "fairseq-train /corpus --task vq_acoustic --arch vq_wav2letter --criterion vq_ctc --labls x",
            "--labls",
        ),
        ("fairseq-hydra-train --config-dir examples/bert --config-name huge", "huge"),
        (
            "fairseq-hydra-train --config-dir examples/bert --config-name base task.tokens_per_example=3",
            "tokens_per_example",
        ),
        (
            "fairseq-hydra-train --config-dir examples/bert --config-name base task.data=x +model.size=3",
            "size",
        ),
        ("python benchmarks/asg.py --speed 3", "--speed"),
        ("python benchmarks/none.py", "there is no benchmarks/none.py"),
        ("make coffee", "no target coffee"),
        ("make setup TROCH=x", "no variable TROCH"),
        ("pip install '.[dmeo]'", "no extra dmeo"),
        ("docker run vqw2v", "do not know the program docker"),
        ("torchrun --nnodes 2 -m vqw2v_plugin discretize a b", "the following arguments are required: OUT"),
        ("while true; do vqw2v path; done", "do not know"),
        ("vqw2v path | cat", "do not know"),
    ],
)
def test_a_wrong_command_is_found(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as caught:
        for command in documented.block_commands(Block(ROOT / "README.md", 1, "sh", text)):
            check(command, tmp_path)
            raise AssertionError("passed")
    assert complaint in str(caught.value)


def test_wrong_names_in_sentences_are_found() -> None:
    assert unknown_options("say `--dict FILE` or `--dikt`, `--max-tokens`") == ["--dikt"]
    assert unknown_keys("`task.data=x +model.vq_vars=3 common.cqu=true`") == ["common.cqu"]
