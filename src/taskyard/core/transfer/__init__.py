"""Leaving and arriving: export the record as JSON lines, and import such a file."""
