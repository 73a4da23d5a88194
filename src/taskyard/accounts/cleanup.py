"""Delete expired rows of accounts."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken


def delete_expired_tokens() -> None:
    """Delete the records of refresh tokens that expired a day ago, blacklisted or not.

    Not earlier, because the clocks of web processes differ and a token is accepted for some seconds
    after its expiry. The next run deletes the records that are locked now.
    """
    a_day_ago = timezone.now() - timedelta(days=1)
    expired = OutstandingToken.objects.filter(expires_at__lt=a_day_ago)
    with transaction.atomic():
        unlocked = expired.select_for_update(skip_locked=True).values("id")
        OutstandingToken.objects.filter(id__in=unlocked).delete()
