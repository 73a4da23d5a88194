"""The operator's commands, by subject: each takes its arguments and returns the exit code."""
