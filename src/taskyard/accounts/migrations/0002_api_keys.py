import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("taskyard_accounts", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("prefix", models.CharField(max_length=8, unique=True, verbose_name="prefix")),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("scopes", models.JSONField(verbose_name="scopes")),
                ("task_types", models.JSONField(null=True, verbose_name="task types")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        verbose_name="created",
                    ),
                ),
                ("expires_at", models.DateTimeField(null=True, verbose_name="expires")),
                ("last_used_at", models.DateTimeField(null=True, verbose_name="last used")),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"verbose_name": "API key", "verbose_name_plural": "API keys"},
        ),
    ]
