"""The addresses of the project with odd settings: its own API beside ours."""

from django.contrib.auth import authenticate, login
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.schemas import get_schema_view
from rest_framework.views import APIView


class Own(APIView):
    """A view of the project: all of its settings apply."""

    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"some_key": request.version})


@ensure_csrf_cookie
def sign_in(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        person = authenticate(
            request, username=request.POST["email"], password=request.POST["password"]
        )
        assert person is not None
        login(request, person)
    return HttpResponse()


urlpatterns = [
    path("sign-in/", sign_in),
    path("api/own/", Own.as_view()),
    path("api/schema/", get_schema_view(title="Own", public=True, permission_classes=[])),
    path("jobs/", include("taskyard.api.urls")),
]
