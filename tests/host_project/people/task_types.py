"""A task type of the host project: it is found because its app is installed."""

from taskyard import Run, task_type
from tests.host_project.people.models import Person


@task_type("count-people")
def count_people(run: Run) -> dict[str, str | int]:
    assert run.owner is not None
    owner = Person.objects.get(pk=run.owner.id)
    return {"people": Person.objects.count(), "owner": owner.email}
