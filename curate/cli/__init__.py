"""The command line: one file a command, heavy imports inside their functions, so that `--help` stays instant."""
