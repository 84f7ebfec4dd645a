"""How acoustic models learn: criterion `vq_ctc`, temporal classification (Graves et al. 2006)."""

from fairseq.criterions import register_criterion

from .acoustic_loss import AcousticLoss, AcousticLossConfig


@register_criterion("vq_ctc", dataclass=AcousticLossConfig)
class VqCtcCriterion(AcousticLoss):
    is_ctc = True
