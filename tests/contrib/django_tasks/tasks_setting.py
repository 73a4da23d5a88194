"""The setting ``TASKS`` of the tests."""

TASKYARD_BACKEND = "taskyard.contrib.django_tasks.TaskyardBackend"
TASKS = {
    "default": {
        "BACKEND": TASKYARD_BACKEND,
        "QUEUES": ["default", "mail"],
        "OPTIONS": {
            "ALIASES": {
                "tests.contrib.django_tasks.shop.tasks.former": (
                    "tests.contrib.django_tasks.shop.tasks.renamed"
                ),
                "shop_of_old": "tests.contrib.django_tasks.shop",
            }
        },
    },
    "any": {"BACKEND": TASKYARD_BACKEND, "QUEUES": [], "OPTIONS": {"MAX_ATTEMPTS": 2}},
}
