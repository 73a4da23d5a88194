"""The user."""

from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.utils.translation import gettext_lazy as _

from taskyard.accounts.usernames import LONGEST, name_key

# Django's classes take type parameters in the stubs, but not at run time.
if TYPE_CHECKING:
    CharField = models.CharField[str, str]
else:
    CharField = models.CharField


class NameKeyField(CharField):
    """Sets itself from ``username`` at every save, also by bulk_create."""

    def pre_save(self, model_instance: models.Model, add: bool) -> Any:
        key = name_key(getattr(model_instance, "username"))  # noqa: B009  # no model knows it here
        setattr(model_instance, self.attname, key)
        return key


class UserManager(DjangoUserManager["User"]):
    def get_by_natural_key(self, username: str | None) -> "User":
        """The user of this name, without regard to case and to compatible characters."""
        return self.get(username_key=name_key(username or ""))

    def active(self, user_id: int) -> "User | None":
        """The active user of this id, or None.

        The SQL is built once, because every request needs it and building it takes seven times as
        long as the query.
        """
        statement, fields = _select_active_user()
        with connections[self.db].cursor() as cursor:
            cursor.execute(statement, [user_id])
            row = cursor.fetchone()
        return None if row is None else self.model.from_db(self.db, fields, row)


@cache
def _select_active_user() -> tuple[str, list[str]]:
    """The SQL and its fields. Times are deferred: the databases return them in different types."""
    fields = [f for f in User._meta.concrete_fields if not isinstance(f, models.DateTimeField)]
    columns = ", ".join(str(f.column) for f in fields)
    statement = f"SELECT {columns} FROM {User._meta.db_table} WHERE id = %s AND is_active"  # noqa: S608
    return statement, [f.attname for f in fields]


class User(AbstractUser):
    # Case folding can make a name up to three times as long.
    username_key = NameKeyField(max_length=3 * LONGEST, unique=True, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    def clean(self) -> None:
        super().clean()
        others = User.objects.filter(username_key=name_key(self.username)).exclude(pk=self.pk)
        if others.exists():
            raise ValidationError({"username": _("This username is already taken.")})
