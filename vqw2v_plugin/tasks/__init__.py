"""What `--task` names; fairseq imports every module of this folder by itself."""
