"""Write a Celery message without Celery, so that the web process does not load it.

The body and the headers are Celery's message protocol, version 2
(https://docs.celeryq.dev/en/stable/internals/protocol.html). The envelope is the JSON text that
kombu's Redis transport keeps in a list. The default exchange, with an empty name, delivers to the
queue that the routing key names.
"""

import json
from base64 import b64encode
from functools import cache
from uuid import uuid4

WAKE_UP = "taskyard.wake_up"
ORIGIN = "taskyard"
# Stands for the message's id in the text of a queue's messages; no name of a queue has a NUL.
ID = "\0"
_ID_AS_JSON = json.dumps(ID)[1:-1]


def wake_up_message(queue: str) -> str:
    """The message that calls the Celery task ``taskyard.wake_up`` with ``queue``."""
    return _text(queue).replace(_ID_AS_JSON, str(uuid4()))


@cache
def _text(queue: str) -> str:
    """The messages of a queue differ only in their ids, and each notification needs one."""
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    body = json.dumps([[queue], {}, embed])
    return json.dumps(
        {
            "body": b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": WAKE_UP,
                "id": ID,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": ID,
                "parent_id": None,
                "argsrepr": repr((queue,)),
                "kwargsrepr": "{}",
                "origin": ORIGIN,
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            },
            "properties": {
                "correlation_id": ID,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": ID,
            },
        }
    )
