"""Users with what AbstractBaseUser promises, and no more: no username, and a UUID as key."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models


class PersonManager(BaseUserManager["Person"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "Person":
        person = self.model(email=self.normalize_email(email), **fields)
        person.set_password(password)
        person.save()
        return person


class Person(AbstractBaseUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)

    USERNAME_FIELD = "email"
    objects: ClassVar[PersonManager] = PersonManager()

    def __str__(self) -> str:
        return self.email


class Receipt(models.Model):
    """A row of the project that goes with its task, and has rows of its own."""

    task = models.ForeignKey("taskyard.Task", on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return str(self.task_id)


class ReceiptLine(models.Model):
    receipt = models.ForeignKey(Receipt, on_delete=models.CASCADE)

    def __str__(self) -> str:
        return str(self.receipt_id)


class Invoice(models.Model):
    """A row of the project that protects its task; several tasks made it."""

    task = models.ForeignKey("taskyard.Task", on_delete=models.PROTECT)
    made_by = models.ManyToManyField("taskyard.Task", related_name="+")

    class Meta:
        db_table = "Invoices"

    def __str__(self) -> str:
        return str(self.task_id)
