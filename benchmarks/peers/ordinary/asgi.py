"""As Taskyard is served: one process of uvicorn, Django in four threads."""

from benchmarks.peers.ordinary.wsgi import application as wsgi
from taskyard.server.wsgi_adapter import WSGIAdapter

application = WSGIAdapter(wsgi, threads=4)
