"""Doors for tasks that a project has already; each is imported only by those that use it."""
