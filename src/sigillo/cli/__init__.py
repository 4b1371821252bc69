"""The command line: one file for each command, each with a click command named ``command``."""
