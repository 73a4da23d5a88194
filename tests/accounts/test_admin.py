"""The admin's page of a user: the quota."""

from collections.abc import Callable

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from taskyard.accounts.models import User
from taskyard.core.models import Quota
from tests.api_client import ApiClient


def test_staff_sets_a_users_limit_and_never_the_counter(
    new_user: Callable[..., User], user: User, api: ApiClient
) -> None:
    admin = Client()
    admin.force_login(new_user("root", is_staff=True, is_superuser=True))
    api.create()
    address = f"/admin/taskyard_accounts/user/{user.pk}/change/"
    form = admin.get(address).context["adminform"].form.initial
    management = {"TOTAL_FORMS": 1, "INITIAL_FORMS": 1}
    body = {
        "username": "newuser", "is_active": "on",
        "date_joined_0": form["date_joined"].strftime("%Y-%m-%d"),
        "date_joined_1": form["date_joined"].strftime("%H:%M:%S"),
        **{f"quota-{name}": value for name, value in management.items()},
        "quota-0-user": user.pk, "quota-0-active_limit": 7, "quota-0-active": 0,
    }  # fmt: skip
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert admin.post(address, body).status_code == 302
    written = [each["sql"] for each in queries if 'UPDATE "taskyard_quota"' in each["sql"]]
    assert len(written) == 1
    assert '"active" =' not in written[0]
    account = Quota.objects.get(user=user)
    assert (account.active_limit, account.active) == (7, 1)
    assert api.get("limits/").json()["active_limit"] == 7
