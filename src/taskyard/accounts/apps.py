"""The Django app of users and tokens."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AccountsConfig(AppConfig):
    name = "taskyard.accounts"
    label = "taskyard_accounts"
    verbose_name = _("Accounts")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from taskyard.accounts.cleanup import delete_expired_tokens
        from taskyard.accounts.subjects import of_active_account
        from taskyard.core import cleanup, sharing

        cleanup.register(delete_expired_tokens)
        sharing.require(of_active_account)
