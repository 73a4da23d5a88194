"""The migrations fit any user model, and can be taken back."""

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

pytestmark = pytest.mark.django_db(transaction=True)


def our_tables() -> set[str]:
    tables = connection.introspection.table_names()
    return {name for name in tables if name.startswith("taskyard_")}


def test_no_model_has_changed_since_its_migration() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def test_core_depends_on_the_app_of_the_users_alone() -> None:
    migrations = MigrationExecutor(connection).loader.disk_migrations
    needed = {
        app
        for (label, _), migration in migrations.items()
        if label == "taskyard"
        for app, _ in migration.dependencies
    }
    assert needed - {"taskyard"} == {get_user_model()._meta.app_label}


def test_all_of_it_can_be_taken_back() -> None:
    core = {model._meta.db_table for model in apps.get_app_config("taskyard").get_models()}
    assert core <= our_tables()
    try:
        call_command("migrate", "taskyard", "zero", verbosity=0, skip_checks=True)
        assert not core & our_tables()
    finally:
        call_command("migrate", verbosity=0, skip_checks=True)
    assert core <= our_tables()
