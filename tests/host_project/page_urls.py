"""The addresses of the project with the page: its own login beside it."""

from django.contrib.auth.views import LoginView
from django.urls import include, path

urlpatterns = [
    path("sign-in/", LoginView.as_view(template_name="login.html"), name="sign-in"),
    path("office/jobs/", include("taskyard.web.urls")),
]
