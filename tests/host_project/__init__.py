"""A Django project as teams have it: Taskyard's apps run in it, and it differs where it can.

Users have a UUID and an e-mail address, tokens are those of Django REST Framework, the language is
German, there are no sessions, and the database engine is Django's own.
"""
