"""The Celery half: one message a task. BENCH_FORM=celery-per-task has the lean worker."""

import os
import time

from celery import Celery

from benchmarks.peers import tally

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.ordinary.settings")
app = Celery("ordinary")
app.config_from_object("django.conf:settings", namespace="CELERY")
FORM = os.environ["BENCH_FORM"]
LEAN = FORM == "celery-per-task"
if FORM != "ordinary":
    # CONN_MAX_AGE is not enough: Celery closes the connection after every task anyway.
    app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000_000
if LEAN:
    app.conf.update(
        task_ignore_result=True,
        task_acks_late=False,
        worker_disable_rate_limits=True,
    )


def compute(task_type, given):
    if task_type == "sum":
        return {"result": sum(given["numbers"])}
    time.sleep(given["seconds"])
    return {"message": "Обратный отсчёт завершён"}


def send(task):
    """Send the task; a create calls this after its INSERT."""
    if LEAN:
        return run_lean.delay(task.pk, task.task_type, task.input_data)
    return run_task.delay(task.pk)


def note(result):
    """Count a finished task for the benchmark; this is not measured."""
    tally.done(int(result.get("result", 0)))


@app.task
def run_task(task_id):
    from benchmarks.peers.ordinary.models import Task

    task = Task.objects.get(pk=task_id)
    task.status = Task.Status.IN_PROGRESS
    task.save()
    try:
        task.result = compute(task.task_type, task.input_data)
        task.status = Task.Status.COMPLETED
    except Exception as error:
        task.result = {"error": str(error)}
        task.status = Task.Status.ERROR
    task.save()
    note(task.result)


@app.task
def run_lean(task_id, task_type, given):
    """The input comes with the message, so that the result is the only statement."""
    from benchmarks.peers.ordinary.models import Task

    try:
        status, result = Task.Status.COMPLETED, compute(task_type, given)
    except Exception as error:
        status, result = Task.Status.ERROR, {"error": str(error)}
    pending = Task.objects.filter(pk=task_id, status=Task.Status.PENDING)
    pending.update(status=status, result=result)
    note(result)
