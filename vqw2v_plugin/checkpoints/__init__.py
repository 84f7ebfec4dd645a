"""Networks on disk, ours and stock fairseq's."""
