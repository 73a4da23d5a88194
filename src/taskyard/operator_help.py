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
    "staff": "show or change who is staff: operators and viewers",
    "audit": "write the audit log as JSON lines",
    "service-account": "make a user for a program, with an API key and no password",
    "invite": "make an invitation to register, and print its link",
    "change-password": "set a user's password",
    "backup": "write the database to a file, while it is in use",
    "restore": "replace the database by that of a backup; taskyard must be stopped",
    "export": "write tasks, users and settings as JSON lines; --mine: your own tasks, over the API",
    "import": "add what is in the file of an export to the database",
    "reconcile": "compare the record of files with the storage",
    "rotate-secrets": "encrypt the secrets in stored inputs with the first key",
    "encryption-key": "print a new key for TASKYARD_ENCRYPTION_KEYS",
    "doctor": "check this installation",
    "settings": "print the table of environment variables",
    "manage": "any command of Django's",
}
