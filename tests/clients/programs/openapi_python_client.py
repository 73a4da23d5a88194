"""A client that openapi-python-client makes."""

import json
import os

from taskyard_client import AuthenticatedClient
from taskyard_client.api.tasks import tasks_create_create, tasks_list, tasks_retrieve
from taskyard_client.models import CreateSum, SumInput, TaskAnswer, TaskPage
from taskyard_client.models.tasks_list_status_item import TasksListStatusItem

client = AuthenticatedClient(os.environ["TASKYARD_URL"], os.environ["TASKYARD_ACCESS"])
wanted = CreateSum(task_type="sum", input_data=SumInput(numbers=[1, 2.5]))
made = tasks_create_create.sync(client=client, body=wanted, prefer="wait=30")
assert isinstance(made, TaskAnswer), made
read = tasks_retrieve.sync(made.id, client=client)
assert isinstance(read, TaskAnswer), read
page = tasks_list.sync(client=client, status=[TasksListStatusItem.COMPLETED], page_size=5)
assert isinstance(page, TaskPage), page
print(
    json.dumps(
        {
            "id": made.id,
            "status": read.status.value,
            "result": read.result,
            "ids": [task.id for task in page.results],
        }
    )
)
