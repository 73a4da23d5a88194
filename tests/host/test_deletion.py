"""Tasks to which rows of the host project refer: ``on_delete`` of the project holds."""

import json

from tests.host.conftest import StartHost

SCRIPT = """
import json
import django
django.setup()
from datetime import timedelta
from django.db.models.functions import Now
from taskyard import jobs
from taskyard.core import deletion
from taskyard.core.errors import StillReferenced
from taskyard.core.models import Task
from tests.host_project.people.models import Invoice, Receipt, ReceiptLine

tasks = [jobs.submit("sum", {"numbers": [1]}) for _ in range(4)]
for task in tasks:
    jobs.cancel(task.pk)
ReceiptLine.objects.create(receipt=Receipt.objects.create(task=tasks[0]))
invoice = Invoice.objects.create(task=tasks[1])
invoice.made_by.add(tasks[2])
deletion.delete(tasks[0])
said = {"receipts": Receipt.objects.count() + ReceiptLine.objects.count()}
try:
    deletion.delete(tasks[1])
except StillReferenced as error:
    said["refused"] = error.code
long_ago = Now() - timedelta(days=9)
Task.objects.update(created_at=long_ago, finished_at=long_ago)
said["purged"] = deletion.purge(5)[0]
said["left"] = list(Task.objects.values_list("id", flat=True)) == [tasks[1].pk]
said["invoices"] = Invoice.objects.count()
said["made_by"] = invoice.made_by.count()
print(json.dumps(said))
"""


def test_on_delete_of_the_project_holds(start_host: StartHost) -> None:
    host = start_host("tests.host_project.settings")
    assert json.loads(host.run("-c", SCRIPT)) == {
        "receipts": 0,
        "refused": "task_referenced",
        "purged": 2,
        "left": True,
        "invoices": 1,
        "made_by": 0,
    }
