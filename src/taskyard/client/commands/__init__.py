"""The command line. Until a command runs, only Typer is imported."""
