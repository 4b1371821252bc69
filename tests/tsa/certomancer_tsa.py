"""certomancer as an independent time-stamp authority over HTTP (docs/adr/0012-certomancer-as-oracle.md)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from certomancer.integrations.animator import Animator, AnimatorArchStore
from certomancer.registry import CertomancerConfig

from sigillo.core.timestamp import TsaTrust
from sigillo.x509 import new_key, private_pem

POLICY = "1.3.6.1.4.1.4146.2.3"
"""The one that certomancer writes."""


def _certificate(subject: str, **more: Any) -> dict[str, Any]:
    validity = {"valid-from": "2020-01-01T00:00:00+0000", "valid-to": "2050-01-01T00:00:00+0000"}
    return {"subject": subject, "subject-key": subject, "issuer": "root", "validity": validity, **more}


USAGE = {"schema": "key-usage", "params": ["digital_signature"]}
TIME = {
    "keyset": "keys",
    "entities": {"root": {"common-name": "Certomancer Root"}, "tsa": {"common-name": "Certomancer TSA"}},
    "certs": {
        "root": _certificate("root", profiles=[{"id": "simple-ca", "params": {"max-path-len": 0}}]),
        "tsa": _certificate(
            "tsa",
            extensions=[
                {"id": "key_usage", "critical": True, "smart-value": USAGE},
                {"id": "extended_key_usage", "critical": True, "value": ["time_stamping"]},
            ],
        ),
    },
    "services": {"time-stamping": {"tsa": {"signing-cert": "tsa", "signing-key": "tsa"}}},
}


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


@contextmanager
def certomancer(folder: Path) -> Iterator[tuple[str, TsaTrust]]:
    """Its URL, and what a policy pins of it. *folder*: for its keys, made anew."""
    for name in ("root", "tsa"):
        (folder / f"{name}.pem").write_bytes(private_pem(new_key()))
    keys = {name: {"path": f"{name}.pem"} for name in ("root", "tsa")}
    configuration = {"keysets": {"keys": {"keys": keys}}, "pki-architectures": {"time": TIME}}
    loaded = CertomancerConfig(configuration, key_search_dir=str(folder))
    (architecture,) = loaded.pki_archs.values()
    root = architecture.get_cert("root").dump()
    application = Animator(AnimatorArchStore(loaded.pki_archs), with_web_ui=False)
    with make_server("127.0.0.1", 0, application, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_address[1]}/time/tsa/tsa"
            yield url, TsaTrust("certomancer", (root,), (POLICY,))
        finally:
            server.shutdown()
            thread.join()
