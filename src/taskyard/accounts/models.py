"""The user, API keys, service accounts and their subjects, invitations, confirmed addresses."""

from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.auth.models import UserManager as DjangoUserManager
from django.core.exceptions import ValidationError
from django.db import connections, models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from taskyard.accounts.usernames import LONGEST, SEPARATOR, name_key
from taskyard.core.proofs import Proof

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

    def active(self, user_id: int, proof: Proof | None = None) -> "User | None":
        """The active user of this id, or None; None also without a proof that is wanted.

        The SQL is built once, because every request needs it and building it takes seven times as
        long as the query.
        """
        statement, fields = _select_active_user(None if proof is None else proof.condition)
        params = {"owner": user_id, "proof": proof and proof.value}
        with connections[self.db].cursor() as cursor:
            cursor.execute(statement, params)
            row = cursor.fetchone()
        return None if row is None else self.model.from_db(self.db, fields, row)


@cache
def _select_active_user(condition: str | None) -> tuple[str, list[str]]:
    """The SQL and its fields. Times are deferred: the databases return them in different types."""
    fields = [f for f in User._meta.concrete_fields if not isinstance(f, models.DateTimeField)]
    columns = ", ".join(str(f.column) for f in fields)
    wanted = "id = %(owner)s AND is_active" + (f" AND {condition}" if condition else "")
    statement = f"SELECT {columns} FROM {User._meta.db_table} WHERE {wanted}"  # noqa: S608
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

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Accept the name of a subject's user, which an import brings and no form can make."""
        if SEPARATOR in self.username and not self.has_usable_password():
            exclude = {*(exclude or ()), "username"}
        super().clean_fields(exclude=exclude)

    @property
    def is_machine(self) -> bool:
        """Whether this is a service account or a subject, and no person; one query."""
        ids = ServiceAccount.objects.filter(pk=self.pk).values("pk")
        return ids.union(Subject.objects.filter(pk=self.pk).values("pk")).exists()

    def check_password(self, raw_password: str | None) -> bool:
        """Always false for a machine, even if an operator has given it a password."""
        return super().check_password(raw_password) and not self.is_machine


class ApiKey(models.Model):
    """A key of a user for programs: its hash, and what it may do, which never changes.

    A revoked key is a deleted row.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(_("name"), max_length=100)
    # The public part of the key, by which people and look-ups find it.
    prefix = models.CharField(_("prefix"), max_length=8, unique=True)
    # The SHA-256 of the whole key, which has 256 random bits.
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(_("scopes"))
    # Null for all.
    task_types = models.JSONField(_("task types"), null=True)
    created_at = models.DateTimeField(_("created"), db_default=Now())
    expires_at = models.DateTimeField(_("expires"), null=True)
    # At most a minute old.
    last_used_at = models.DateTimeField(_("last used"), null=True)

    class Meta:
        verbose_name = _("API key")
        verbose_name_plural = _("API keys")

    def __str__(self) -> str:
        return f"{self.prefix} {self.name}"


class ServiceAccount(models.Model):
    """A user for a program: it has no password, only API keys.

    ``made`` counts the subjects that were ever made. It is exact only while none is deleted.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    made = models.BigIntegerField(default=0, db_default=0, editable=False)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("service account")
        verbose_name_plural = _("service accounts")

    def __str__(self) -> str:
        return self.user.username


class Subject(models.Model):
    """A customer on whose behalf a service account submits: a user that has no password.

    The tasks, the quota and the files of a subject are those of ``user``. A service account with
    subjects cannot be deleted.
    """

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="+")
    account = models.ForeignKey(
        ServiceAccount, on_delete=models.PROTECT, related_name="subjects", db_index=False
    )
    name = models.CharField(_("name"), max_length=100)
    created_at = models.DateTimeField(_("created"), db_default=Now())

    class Meta:
        verbose_name = _("subject")
        verbose_name_plural = _("subjects")
        constraints = [
            models.UniqueConstraint(fields=["account", "name"], name="subject_name_once_an_account")
        ]
        indexes = [models.Index(fields=["account", "user"], name="subject_of_account")]

    def __str__(self) -> str:
        return self.name


class OidcIdentity(models.Model):
    """A person of an issuer, by single sign-on, and the user who they are here."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    issuer = models.CharField(max_length=255)
    # As the issuer names the person, for ever.
    subject = models.CharField(max_length=255)
    # The role that the person's groups gave last, empty for none.
    role = models.CharField(max_length=16, default="", blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("single sign-on identity")
        verbose_name_plural = _("single sign-on identities")
        constraints = [
            models.UniqueConstraint(
                fields=["issuer", "subject"], name="taskyard_one_user_of_an_identity"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"


class Invitation(models.Model):
    """Lets one person register. The table has a hash of its code only."""

    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    email = models.EmailField(blank=True)
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    # None: made by a command on the server.
    created_by = models.ForeignKey("User", models.SET_NULL, null=True, blank=True, related_name="+")
    used_at = models.DateTimeField(null=True, blank=True)
    used_by = models.ForeignKey("User", models.SET_NULL, null=True, blank=True, related_name="+")
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = _("invitation")
        verbose_name_plural = _("invitations")

    def __str__(self) -> str:
        return f"invitation {self.pk}"


class ConfirmedEmail(models.Model):
    """The address that a user has confirmed by the link in a mail.

    The user's address is confirmed while it is equal to this one, in whichever way it was changed.
    It is not a column of the user, because every request reads those.
    """

    user = models.OneToOneField("User", models.CASCADE, primary_key=True, related_name="+")
    email = models.EmailField()
    # Lower case can make an address longer.
    email_key = models.CharField(max_length=3 * 254, db_index=True, editable=False)
    confirmed_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = _("confirmed e-mail")
        verbose_name_plural = _("confirmed e-mails")

    def __str__(self) -> str:
        return f"confirmed e-mail of user {self.pk}"
