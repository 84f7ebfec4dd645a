"""Fine-tuning by fairseq's own programs: every yaml is whole, hydra takes it, two ranks learn as one."""

from pathlib import Path

import pytest
import torch
from program_runs import BIN, ROOT, call, checked_settings, on_ranks
from sung_letters import OPTIONS, SIZES, write_sung
from wav2vec2s import LARGE_STYLE, tiny_wav2vec2

pytest.importorskip("fairseq")
from vqw2v_plugin.checkpoints.finetuned import KIND
from vqw2v_plugin.checkpoints.format import load, write_checkpoint
from vqw2v_plugin.checkpoints.kinds import Audio, Header
from vqw2v_plugin.checkpoints.wav2vec2 import KIND as WAV2VEC2

YAMLS = sorted((ROOT / "examples" / "wav2vec2" / "finetuning").glob("*.yaml"))


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_yaml_is_whole_and_names_only_known_options(path: Path) -> None:
    import vqw2v_plugin

    vqw2v_plugin.register()
    from vqw2v_plugin.models.vq_wav2vec2_ctc import VqWav2Vec2CtcConfig
    from vqw2v_plugin.tasks.vq_acoustic import VqAcousticConfig
    from vqw2v_plugin.training.acoustic_criterion import AcousticCriterionConfig

    settings = checked_settings(
        path, model=VqWav2Vec2CtcConfig, task=VqAcousticConfig, criterion=AcousticCriterionConfig
    )
    model, dataset = settings["model"], settings["dataset"]
    assert model["freeze_finetune_updates"] < settings["optimization"]["max_update"]
    assert dataset["validate_interval"] == settings["checkpoint"]["save_interval"]
    assert dataset["validate_after_updates"] in (0, model["freeze_finetune_updates"])
    assert settings["checkpoint"]["best_checkpoint_metric"] == (
        "uer" if path.stem in ("timit", "small") else "wer"
    )


@pytest.mark.slow
def test_hydra_train_takes_a_yaml_as_it_stands(tmp_path: Path) -> None:
    data, labels = write_sung(tmp_path, {"train": 12, "valid": 3})
    network = tiny_wav2vec2(**LARGE_STYLE, encoder_embed_dim=128)  # channels are masked by 64
    header = Header(WAV2VEC2.model, WAV2VEC2.settings(network), Audio(16_000, True))
    write_checkpoint(tmp_path / "p.pt", header, network.state_dict())
    overrides = [
        *(f"common.user_dir={ROOT / 'vqw2v_plugin'}", f"task.data={data}", f"task.labels={labels}"),
        *(f"checkpoint.save_dir={tmp_path / 'ck'}", f"hydra.run.dir={tmp_path}", "dataset.num_workers=0"),
        *(f"model.w2v_path={tmp_path / 'p.pt'}", "common.cpu=true", "optimization.max_update=4"),
        *("optimization.update_freq=[1]", "model.freeze_finetune_updates=2"),
        *("distributed_training.distributed_world_size=1", "dataset.validate_after_updates=0"),
    ]
    name = ["--config-dir", YAMLS[0].parent, "--config-name", "large_1h"]
    log = call([BIN / "fairseq-hydra-train", *name, *overrides], tmp_path)
    assert "| wer " in log and "next: fairseq-generate" in log
    found = load(tmp_path / "ck" / "checkpoint_best.pt", KIND)
    assert found.network.config.tuning.mask_prob == 0.75 and found.header.audio == Audio(16_000, True)
    assert found.network.wav2vec2.config.layer_norm_first


@pytest.mark.slow
def test_two_ranks_learn_as_one_process_with_the_joined_batch(tmp_path: Path) -> None:
    """Clips of different lengths: masks are each utterance's own, and dropped layers are the same ones."""
    data, labels = write_sung(tmp_path, {"train": 4, "valid": 1})

    def learnt(ranks: int, *more: str) -> dict[str, torch.Tensor]:
        out = tmp_path / f"{ranks}{len(more)}"
        words = [str(BIN / "fairseq-train"), str(data), "--labels", str(labels), *OPTIONS, *SIZES, *more]
        words += f"--batch-size {4 // ranks} --max-update 8 --disable-validation --save-dir {out}".split()
        words += "--activation-dropout 0 --layerdrop 0.4 --feature-grad-mult 0.5".split()
        words += "--freeze-finetune-updates 2 --ddp-backend legacy_ddp --max-tokens 1000000".split()
        return dict(on_ranks(words, ranks, out)["model"])

    one, two = learnt(1), learnt(2)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    begun = learnt(1, "--lr", "1e-9")
    assert max((one[n] - begun[n]).abs().max().item() for n in one if one[n].is_floating_point()) > 1e-3
