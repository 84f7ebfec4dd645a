"""states ──head──▶ class of the utterance: who speaks, in which language, in which mood."""
