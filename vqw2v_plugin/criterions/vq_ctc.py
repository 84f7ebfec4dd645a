"""states ──acoustic model──▶ letters, as fairseq's criterion `vq_ctc`: CTC."""

from fairseq.criterions import register_criterion

from ..text.loss_kinds import LOSS_KINDS
from ..training.acoustic_criterion import AcousticCriterion, AcousticCriterionConfig


@register_criterion("vq_ctc", dataclass=AcousticCriterionConfig)
class VqCtcCriterion(AcousticCriterion):
    loss = LOSS_KINDS["ctc"]
