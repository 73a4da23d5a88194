"""The same API as an ordinary Django, DRF and Celery project has it, and what it is served by.

The models, views and tasks are what a developer writes from the tutorials, with nothing done badly
on purpose. `served.py` starts it.
"""
