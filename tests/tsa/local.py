"""A local authority in this process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sigillo.tsa.server import TsaServer


@contextmanager
def running(server: TsaServer) -> Iterator[str]:
    """Its URL."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()
