"""What surrounds the page in the project: a middleware and a context processor."""

from typing import Any

from django.http import HttpRequest


class StaffByAddress:
    """A project that knows its staff by their address: no column of the user model says it."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> Any:
        if str(request.user).endswith("@staff.example.org"):
            setattr(request.user, "is_staff", True)  # noqa: B010  # no user model has it here
        return self.get_response(request)


def unrelated_names(request: HttpRequest) -> dict[str, Any]:
    """A context processor that gives names of ours another meaning."""
    names = ("page", "user", "messages", "person", "request", "theme", "errors", "tasks", "form")
    return dict.fromkeys(names, "unrelated")
