"""A client that openapi-generator makes for Python."""

import json
import os

from openapi_client import ApiClient, Configuration, CreateSum, SumInput, TaskCreate, TasksApi

configuration = Configuration(
    host=os.environ["TASKYARD_URL"], access_token=os.environ["TASKYARD_ACCESS"]
)
with ApiClient(configuration) as client:
    tasks = TasksApi(client)
    wanted = CreateSum(task_type="sum", input_data=SumInput(numbers=[1, 2.5]))
    made = tasks.tasks_create_create(TaskCreate(wanted), prefer="wait=30")
    read = tasks.tasks_retrieve(made.id)
    page = tasks.tasks_list(status=["completed"], page_size=5)
    print(
        json.dumps(
            {
                "id": made.id,
                "status": read.status,
                "result": read.result,
                "ids": [task.id for task in page.results],
            }
        )
    )
