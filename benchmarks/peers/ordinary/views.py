"""Registration, and tasks: created, listed page by page, looked at."""

from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework import generics, permissions, serializers

from benchmarks.peers.ordinary.models import Task
from benchmarks.peers.ordinary.tasks import send

ACTIVE = [Task.Status.PENDING, Task.Status.IN_PROGRESS]


class RegisterSerializer(serializers.ModelSerializer):
    class Meta:
        model = get_user_model()
        fields = ["id", "username", "password"]
        extra_kwargs = {"password": {"write_only": True}}

    def create(self, validated_data):
        return get_user_model().objects.create_user(**validated_data)


class TaskSerializer(serializers.ModelSerializer):
    class Meta:
        model = Task
        fields = ["id", "task_type", "input_data", "status", "result", "created_at"]
        read_only_fields = ["status", "result"]

    def validate(self, attrs):
        given = attrs["input_data"]
        if not isinstance(given, dict):
            raise serializers.ValidationError({"input_data": "an object is expected"})
        if attrs["task_type"] == Task.Type.SUM:
            numbers = given.get("numbers")
            if not isinstance(numbers, list) or not all(
                isinstance(number, int | float) for number in numbers
            ):
                raise serializers.ValidationError({"input_data": "numbers: a list of numbers"})
        else:
            seconds = given.get("seconds")
            if not isinstance(seconds, int) or seconds < 0:
                raise serializers.ValidationError({"input_data": "seconds: a whole number"})
        return attrs


class RegisterView(generics.CreateAPIView):
    serializer_class = RegisterSerializer
    permission_classes = [permissions.AllowAny]


class OwnTasks:
    serializer_class = TaskSerializer

    def get_queryset(self):
        return Task.objects.filter(user=self.request.user)


class TaskCreateView(OwnTasks, generics.CreateAPIView):
    def perform_create(self, serializer):
        active = self.get_queryset().filter(status__in=ACTIVE).count()
        if active >= settings.ACTIVE_LIMIT:
            raise serializers.ValidationError("too many active tasks")
        task = serializer.save(user=self.request.user)
        send(task)


class TaskListView(OwnTasks, generics.ListAPIView):
    def get_queryset(self):
        tasks = super().get_queryset()
        status = self.request.query_params.get("status")
        return tasks.filter(status=status) if status else tasks


class TaskDetailView(OwnTasks, generics.RetrieveAPIView):
    pass
