"""How acoustic models learn: criterion `asg`, auto segmentation (wav2letter, arXiv 1609.03193 §2.2)."""

from fairseq.criterions import register_criterion

from .acoustic_loss import AcousticLoss, AcousticLossConfig


@register_criterion("asg", dataclass=AcousticLossConfig)
class AsgCriterion(AcousticLoss):
    is_ctc = False
