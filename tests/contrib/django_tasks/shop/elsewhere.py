"""A module that no app imports: only who enqueues its task does."""

from tests.contrib.django_tasks.names import task


@task()
def count(word: str) -> int:
    return len(word)


def _private() -> str:
    return "found by its declaration"


public = task(_private)
