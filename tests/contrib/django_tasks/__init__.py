"""Django tasks on Taskyard: with ``django.tasks`` of Django 6, or with its backport."""
