from django.conf import settings
from django.db import migrations, models

COUNT = """
UPDATE taskyard_account SET
    completed = (SELECT count(*) FROM taskyard_task
        WHERE owner_id = user_id AND status = 'completed'),
    error = (SELECT count(*) FROM taskyard_task WHERE owner_id = user_id AND status = 'error'),
    cancelled = (SELECT count(*) FROM taskyard_task
        WHERE owner_id = user_id AND status = 'cancelled')
"""


class Migration(migrations.Migration):
    dependencies = [
        ("taskyard", "0002_whole_life"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="task",
            name="task_changed",
        ),
        migrations.AddField(
            model_name="account",
            name="cancelled",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="account",
            name="completed",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="account",
            name="error",
            field=models.BigIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.RunSQL(COUNT, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["owner", "changed"],
                name="task_ended",
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.CheckConstraint(
                condition=models.Q(("cancelled__gte", 0), ("completed__gte", 0), ("error__gte", 0)),
                name="account_ended_not_negative",
            ),
        ),
    ]
