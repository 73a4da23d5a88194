"""The command line. Nothing but Typer is loaded before a command runs."""
