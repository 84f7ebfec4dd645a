"""states ──acoustic model──▶ letters, as fairseq's criterion `asg`: auto segmentation (wav2letter)."""

from fairseq.criterions import register_criterion

from ..text.loss_kinds import LOSS_KINDS
from ..training.acoustic_criterion import AcousticCriterion, AcousticCriterionConfig


@register_criterion("asg", dataclass=AcousticCriterionConfig)
class AsgCriterion(AcousticCriterion):
    loss = LOSS_KINDS["asg"]
