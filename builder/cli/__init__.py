"""The command line: argument tables, one module per command, what the user reads."""
