"""One file a command: `HELP`, `add_arguments(parser)` and `run(args) -> int`; only `run` imports torch."""
