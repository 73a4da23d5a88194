from django.conf import settings
from django.db import models


class Task(models.Model):
    class Type(models.TextChoices):
        SUM = "sum"
        COUNTDOWN = "countdown"

    class Status(models.TextChoices):
        PENDING = "pending", "Запланировано"
        IN_PROGRESS = "in_progress", "Выполняется"
        COMPLETED = "completed", "Выполнено"
        ERROR = "error", "Ошибка"

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tasks"
    )
    task_type = models.CharField(max_length=20, choices=Type.choices)
    input_data = models.JSONField()
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.PENDING)
    result = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "ordinary"
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.task_type} {self.pk}"
