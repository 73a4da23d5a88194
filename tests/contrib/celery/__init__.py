"""Tests of the door for Celery."""
