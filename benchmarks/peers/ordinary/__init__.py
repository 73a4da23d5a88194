"""The same API as an ordinary project with Django, DRF and Celery, and its servers.

A developer would write the models, views and tasks from the tutorials; nothing is slow on purpose.
`served.py` starts it.
"""
