"""Fault injection: measure the promises while parts of the system die.

``python -m tests.faults`` runs every row in its long form; pytest runs a short form of each.
"""
