"""What a process that a handler spawns runs first: Django is set up, as in the handler's own.

``multiprocessing`` imports the main module of a parent into each process that it spawns, before it
looks for the function that is to run there; a worker names this one.
"""

import django

django.setup()
