"""A file for each command: `HELP`, `add_arguments(parser)`, `run(args) -> int`; only `run` imports torch."""
