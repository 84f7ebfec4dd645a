"""The options of ABX by name, in a file of their own so that `vqw2v abx --help` is quick."""

DISTANCES = ("angular", "cosine", "euclidean", "codes")
CONTEXTS = ("triphone", "none")
SILENCES = ("SIL", "sil", "SP", "sp", "SPN", "spn", "<eps>", "h#", "#h", "pau", "epi")
