"""As Taskyard is served: one process of uvicorn, Django in four threads."""

from benchmarks.peers.ordinary.wsgi import application as wsgi
from taskyard.server.bridge import Bridge

application = Bridge(wsgi, threads=4, max_body=1_000_000)
