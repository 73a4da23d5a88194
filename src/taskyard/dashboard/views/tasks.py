"""My tasks."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from taskyard.dashboard.pages import signed_in


@signed_in
def tasks(request: HttpRequest) -> HttpResponse:
    return render(request, "dashboard/tasks.html", {"page": "tasks"})


@signed_in
def task(request: HttpRequest, task_id: int) -> HttpResponse:
    return render(request, "dashboard/tasks.html", {"page": "tasks"})
