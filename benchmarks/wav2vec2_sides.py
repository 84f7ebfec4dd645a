"""wav ──wav2vec 2.0──▶ states, what learning costs: processes that train stock's, transformers' or ours.

Each is fresh, with the same first weights, batches and optimizer; masks and distractors are drawn by each
side's own sampler, as part of the step. No torch here: a child's peak starts at its parent's.
"""

from __future__ import annotations

import random
import sys
import time
import timeit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sides import SPAWN, Step, held, most

SIDES = ("stock", "transformers", "ours")
SIZES: dict[str, dict[str, Any]] = {
    "base": {},
    "tiny": {
        "encoder_layers": 2,
        "encoder_embed_dim": 128,
        "encoder_ffn_embed_dim": 256,
        "encoder_attention_heads": 4,
        "mask_channel_length": 8,  # stock fails where no channel is drawn
    },
}
LETTERS = ["|", *"ETAOINSHRDLUMCWFGYPBVK'XJQZ"]
RATE = 16_000


@dataclass(frozen=True)
class Job:
    side: str
    task: str  # pretrain or finetune
    equal: bool  # utterances of one length, or of 60 to 100 % of it
    size: str
    batch: int
    seconds: float  # of the longest
    threads: int
    precision: str
    device: str
    folder: str  # of the weights
    clock: str = "wall"  # or processor: seconds that the process had, whatever else runs beside it

    @property
    def path(self) -> Path:
        return Path(self.folder) / f"{self.task}-{self.size}"


def lengths_of(job: Job, number: int) -> list[int]:
    """Samples of each utterance."""
    draw = random.Random(number)
    shares = [1.0] + [1.0 if job.equal else draw.uniform(0.6, 1.0) for _ in range(job.batch - 1)]
    return [round(share * job.seconds * RATE) for share in shares]


def make_batch(job: Job, number: int) -> tuple[Any, list[int], Any]:
    """Audio [B, S] with zeros behind its ends, how long each is, columns [B, L] with −100 behind."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    generator = torch.Generator().manual_seed(number)
    sizes = lengths_of(job, number)
    wav = pad_sequence([0.1 * torch.randn(n, generator=generator) for n in sizes], batch_first=True)
    said = [torch.randint(4, 4 + len(LETTERS), (n // 1_200,), generator=generator) for n in sizes]
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    return wav.to(job.device, dtype), sizes, pad_sequence(said, True, -100).to(job.device)


def stock_model(job: Job) -> tuple[Any, dict[str, Any]]:
    """Its network with random weights, and the settings as its trainer would keep them."""
    from fairseq.models.wav2vec.wav2vec2 import Wav2Vec2Config, Wav2Vec2Model
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecCtc, Wav2VecEncoder
    from omegaconf import OmegaConf

    tuned = {"feature_grad_mult": 0.1, "encoder_layerdrop": 0.0}
    if job.task == "finetune":
        tuned |= {"feature_grad_mult": 0.0, "mask_channel_prob": 0.25, "mask_channel_length": 64}
        tuned |= {"activation_dropout": 0.1}
        tuned |= dict.fromkeys(("dropout", "attention_dropout", "dropout_input"), 0.0)
    chosen = {"quantize_targets": True, "final_dim": 256, "dropout_input": 0.1, "dropout_features": 0.1}
    said = {**vars(Wav2Vec2Config()), **chosen, **tuned, **SIZES[job.size], "_name": "wav2vec2"}
    task = {"_name": "audio_pretraining", "data": ".", "normalize": False}
    pretrained = OmegaConf.create(
        {"model": said, "task": task, "criterion": {}, "lr_scheduler": {}}, flags={"allow_objects": True}
    )
    if job.task == "pretrain":
        model = Wav2Vec2Model(pretrained.model)
        return model, {"cfg": {"model": said | {"extractor_mode": "default"}, "task": task}}
    cfg = Wav2Vec2CtcConfig(w2v_args=pretrained, normalize=False, data=".", ddp_backend="legacy_ddp")
    cfg.apply_mask = True
    model = Wav2VecCtc(cfg, Wav2VecEncoder(cfg, 4 + len(LETTERS)))
    names = ("mask_prob", "mask_channel_prob", "mask_channel_length", "activation_dropout")
    kept = {"apply_mask": True, "layerdrop": 0.0, **{name: said[name] for name in names}}
    inner = OmegaConf.to_container(pretrained, enum_to_str=True)
    return model, {"cfg": {"model": {"_name": "wav2vec_ctc", **kept, "w2v_args": inner}, "task": task}}


def prepare(job: Job) -> None:
    """Stock's first weights, and the same as a checkpoint of ours and as a folder for transformers."""
    import torch
    from omegaconf import OmegaConf

    from vqw2v_plugin.checkpoints.format import write_checkpoint
    from vqw2v_plugin.checkpoints.travel import export_folder, import_checkpoint

    torch.manual_seed(1)
    job.path.mkdir()
    model, said = stock_model(job)
    plain = OmegaConf.to_container(OmegaConf.create(said, flags={"allow_objects": True}), enum_to_str=True)
    torch.save({"model": model.state_dict(), **plain}, job.path / "stock.pt")
    (job.path / "dict.ltr.txt").write_text("".join(f"{letter} 1\n" for letter in LETTERS))
    ours = import_checkpoint(job.path / "stock.pt")
    write_checkpoint(job.path / "ours.pt", ours.header, ours.weights)
    export_folder(job.path / "ours.pt", job.path / "transformers", to="huggingface")


Objective = Callable[[int], tuple[Any, float]]  # of a step: what is minimized, and the loss that is compared


def stock(job: Job) -> tuple[Any, Objective]:
    import torch

    model, _ = stock_model(job)
    model.load_state_dict(torch.load(job.path / "stock.pt", weights_only=True)["model"])
    if job.task == "pretrain":
        return model, lambda number: _stock_pretrains(model, job, number)
    return model, lambda number: _stock_is_tuned(model, job, number)


def _padding(job: Job, wav: Any, sizes: list[int]) -> Any:  # [B, S], True behind an end
    import torch

    return torch.arange(wav.size(1), device=wav.device) >= torch.tensor(sizes, device=wav.device)[:, None]


def _stock_pretrains(model: Any, job: Job, number: int) -> tuple[Any, float]:
    import torch
    from fairseq.criterions.wav2vec_criterion import Wav2vecCriterion

    wav, sizes, _ = make_batch(job, number)
    net_input = {"source": wav} if job.equal else {"source": wav, "padding_mask": _padding(job, wav, sizes)}
    criterion = Wav2vecCriterion(None, infonce=True, loss_weights=[0.1, 10.0])
    loss, size, logs = criterion(model, {"id": torch.arange(len(wav)), "net_input": net_input})
    return loss / size, float(logs["loss_0"]) / size


def _stock_is_tuned(model: Any, job: Job, number: int) -> tuple[Any, float]:
    import torch.nn.functional as F

    wav, sizes, said = make_batch(job, number)
    out = model(source=wav, padding_mask=_padding(job, wav, sizes))
    scores = model.get_normalized_probs(out, log_probs=True)  # [T, B, V]
    found = (~out["padding_mask"]).sum(-1) if out["padding_mask"] is not None else None
    frames = found if found is not None else said.new_full((len(wav),), len(scores))
    counts = (said >= 0).sum(-1)
    loss = F.ctc_loss(scores, said[said >= 0], frames, counts, reduction="sum", zero_infinity=True) / len(wav)
    return loss, float(loss.detach())


def ours(job: Job) -> tuple[Any, Objective]:
    from vqw2v_plugin.checkpoints.format import load_any

    network = load_any(job.path / "ours.pt").network
    if job.task == "pretrain":
        return network, lambda number: _ours_pretrains(network, job, number)
    return network, lambda number: _ours_is_tuned(network, job, number)


def _ours_pretrains(network: Any, job: Job, number: int) -> tuple[Any, float]:
    wav, sizes, _ = make_batch(job, number)
    network.set_num_updates(number)
    out = network.objective(wav, sizes, [number * 1000 + i for i in range(len(wav))])
    return out.loss / out.num_predictions, float(out.contrastive.detach()) / out.num_predictions


def _ours_is_tuned(network: Any, job: Job, number: int) -> tuple[Any, float]:
    import torch

    wav, sizes, said = make_batch(job, number)
    network.set_num_updates(number)
    out = network(wav, torch.tensor(sizes), [number * 1000 + i for i in range(len(wav))])
    counts = (said >= 0).sum(-1)
    loss = network.sequence_loss(out.emissions, out.lengths, said.clamp_min(0), counts).sum() / len(wav)
    return loss, float(loss.detach())


def transformers(job: Job) -> tuple[Any, Objective]:
    sys.modules.setdefault("torchaudio", None)  # type: ignore[arg-type]  # not to be imported beside a torch for CPUs
    import transformers as theirs

    kind = theirs.Wav2Vec2ForPreTraining if job.task == "pretrain" else theirs.Wav2Vec2ForCTC
    model = kind.from_pretrained(job.path / "transformers", attn_implementation="sdpa")
    if job.task == "finetune":
        model.freeze_feature_encoder()
        return model, lambda number: _theirs_is_tuned(model, job, number)
    return model, lambda number: _theirs_pretrains(model, job, number)


def _theirs_pretrains(model: Any, job: Job, number: int) -> tuple[Any, float]:
    import torch
    from transformers.models.wav2vec2 import modeling_wav2vec2 as theirs

    wav, sizes, _ = make_batch(job, number)
    heard = None if job.equal else (~_padding(job, wav, sizes)).long()
    frames = int(model._get_feat_extract_output_lengths(wav.size(1)))
    inside = None if heard is None else model._get_feature_vector_attention_mask(frames, heard)
    config, shape = model.config, (len(wav), frames)
    masks = theirs._compute_mask_indices(shape, config.mask_time_prob, config.mask_time_length, inside)
    others = theirs._sample_negative_indices(shape, config.num_negatives, masks)
    out = model(
        wav,
        attention_mask=heard,
        mask_time_indices=torch.from_numpy(masks).to(wav.device),
        sampled_negative_indices=torch.from_numpy(others).to(wav.device),
    )
    size = int(masks.sum())
    return out.loss / size, float(out.contrastive_loss.detach()) / size


def _theirs_is_tuned(model: Any, job: Job, number: int) -> tuple[Any, float]:
    wav, sizes, said = make_batch(job, number)
    out = model(wav, attention_mask=(~_padding(job, wav, sizes)).long(), labels=said)
    return out.loss / len(wav), float(out.loss.detach()) / len(wav)


def serve(connection: Any, job: Job) -> None:
    """Take a step each time the parent sends its number, and answer with a `Step`."""
    import torch

    torch.set_num_threads(job.threads)
    torch.manual_seed(2)
    model, objective = {"stock": stock, "ours": ours, "transformers": transformers}[job.side](job)
    model = model.to(job.device, torch.bfloat16 if job.precision == "bf16" else torch.float32).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-6)
    before = held(job.device)
    clock = time.process_time if job.clock == "processor" else timeit.default_timer
    while (number := connection.recv()) is not None:
        if number == 0:
            with torch.no_grad():  # which is compared: nothing is dropped, nor where letters are told masked
                model.eval()
                compared = objective(number)[1]
                model.train()
        begun = clock()
        optimizer.zero_grad()
        minimized, loss = objective(number)
        minimized.backward()
        optimizer.step()
        if job.device != "cpu":
            torch.cuda.synchronize()
        seconds = clock() - begun
        connection.send(Step(seconds, loss if number else compared, most(job.device), before))


@contextmanager
def worker(job: Job) -> Iterator[Callable[[int], Step]]:
    """A process that trains; call it with the number of a step."""
    connection, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=serve, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()

    def step(number: int) -> Step:
        try:
            connection.send(number)
            return connection.recv()  # type: ignore[no-any-return]
        except (EOFError, ConnectionError):
            process.join()
            reason = "killed; is there too little memory?" if process.exitcode == -9 else "its error is above"
            raise SystemExit(f"wav2vec2.py: error: {job.side} ended ({reason})") from None

    try:
        yield step
        connection.send(None)
        process.join()
    finally:
        process.kill()
