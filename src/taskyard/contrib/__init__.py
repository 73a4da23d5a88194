"""Doors for what a project has already: Django tasks. Each is imported only if it is used."""
