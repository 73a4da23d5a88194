"""Faults on purpose: what is promised is measured while parts of the system die.

``python -m tests.faults`` runs every row in its long form; pytest runs a short form of each.
"""
