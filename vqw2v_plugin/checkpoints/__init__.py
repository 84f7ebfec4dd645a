"""Networks on disk: one header, one reader and one export for every kind of model.

A kind of model is a file beside this one that holds its `Kind`, and a name in the line below.
"""

from . import acoustic, bert, clusters, finetuned, speech, unpaired, utterance, wav2vec, wav2vec2
from .kinds import KINDS

# a file is of the first that fits
_FILES = (wav2vec, wav2vec2, finetuned, bert, utterance, unpaired, acoustic, clusters, speech)
KINDS.update({each.KIND.model: each.KIND for each in _FILES})
