"""Networks on disk: one header, one reader and one export for every kind of model.

A kind of model is a file beside this one that holds its `Kind`, and a name in the line below.
"""

from . import acoustic, bert, clusters, wav2vec
from .kinds import KINDS

KINDS.update({kind.model: kind for kind in (wav2vec.KIND, bert.KIND, acoustic.KIND, clusters.KIND)})
