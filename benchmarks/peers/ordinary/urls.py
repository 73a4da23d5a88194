from django.urls import path
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView

from benchmarks.peers.ordinary import bare, views

urlpatterns = [
    path("api/register/", views.RegisterView.as_view()),
    path("api/token/", TokenObtainPairView.as_view()),
    path("api/token/refresh/", TokenRefreshView.as_view()),
    path("api/tasks/", views.TaskListView.as_view()),
    path("api/tasks/create/", views.TaskCreateView.as_view()),
    path("api/tasks/<int:pk>/", views.TaskDetailView.as_view()),
    path("api/bare/create/", bare.BareCreateView.as_view()),
]
