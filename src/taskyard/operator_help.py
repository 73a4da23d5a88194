"""The operator's commands and their help texts.

This is a module of its own because the client's `taskyard --help` shows these texts and must not
import the server.
"""

OPERATOR = {
    "up": "database, broker, migrations, web and worker, until Ctrl-C",
    "web": "the web alone, on HOST and PORT",
    "worker": "a worker alone, with TASKYARD_CONCURRENCY processes",
    "migrate": "bring the database to the current version",
    "createsuperuser": "make an administrator",
    "backup": "write the database to a file, while it is in use",
    "restore": "replace the database by that of a backup; taskyard must be stopped",
    "export": "write tasks, users and settings as JSON lines; --mine: your own tasks, over the API",
    "import": "add what is in the file of an export to the database",
    "doctor": "check this installation",
    "settings": "print the table of environment variables",
    "manage": "any command of Django's",
}
