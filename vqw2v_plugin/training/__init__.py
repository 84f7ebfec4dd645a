"""How models learn: what the models, tasks and criterions that fairseq registers share."""
