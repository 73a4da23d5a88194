from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("taskyard", "0006_tracebacks")]

    operations = [
        migrations.CreateModel(
            name="Installation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=20)),
            ],
        ),
    ]
