"""The user."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from taskyard.accounts.names import LONGEST, name_key

# Django's classes take no parameters when they run, only when they are checked.
if TYPE_CHECKING:
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class NameKeyField(CharField):
    """Follows ``username`` on every way into the database, bulk_create included."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        key = name_key(getattr(model_instance, "username"))  # noqa: B009  # no model knows it here
        setattr(model_instance, self.attname, key)
        return key


class UserManager(DjangoUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        """By the name in any case and any compatible form: there is only one such user."""
        return self.get(username_key=name_key(username or ""))


class User(AbstractUser):
    # Case folding can make a name up to three times as long.
    username_key = NameKeyField(max_length=3 * LONGEST, unique=True, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    def clean(self) -> None:
        super().clean()
        twins = User.objects.filter(username_key=name_key(self.username)).exclude(pk=self.pk)
        if twins.exists():
            raise ValidationError({"username": _("This username is already taken.")})
