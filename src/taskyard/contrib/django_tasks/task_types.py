"""Makes the Django tasks of a project known: the core imports this if ``TASKS`` has our backend."""

from taskyard.catalog.task_type import registry
from taskyard.contrib.django_tasks import declarations
from taskyard.contrib.django_tasks.backend import TaskyardBackend

for backend in declarations.backends():
    if isinstance(backend, TaskyardBackend):
        registry.serve(backend.queues)
declarations.discover()
registry.resolver = declarations.resolve
