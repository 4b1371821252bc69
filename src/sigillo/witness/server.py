"""The witness over HTTP: `POST /add-checkpoint` on loopback (spec/witness.md, "Answer")."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from sigillo.core.witness import MAX_REQUEST, PATH, TEXT
from sigillo.web import Handler, Server, is_loopback
from sigillo.witness.error import WitnessFolderError
from sigillo.witness.witness import Witness


class WitnessServer(Server):
    """The server on one address."""

    def __init__(self, address: str, witness: Witness, fail: Callable[[OSError], None]) -> None:
        """*fail*: called where nothing more can be written down. Raises WitnessFolderError."""
        self.witness, self.fail = witness, fail
        if not is_loopback(address):
            raise WitnessFolderError(
                f"{address}: must be ADDRESS:PORT on loopback, as 127.0.0.1:8390; a proxy goes before it"
            )
        try:
            super().__init__(address, WitnessHandler)
        except OSError as error:
            raise WitnessFolderError(
                f"{address}: nothing can listen there ({error.strerror}); choose another"
            ) from None


class WitnessHandler(Handler):
    """POST of a request; GET of `/` says who this is; 404 for the rest."""

    server: WitnessServer

    def do_GET(self) -> None:
        """The key, and the logs that are followed."""
        if self.path == "/":
            self._say(HTTPStatus.OK, self._index())
        else:
            self._say(HTTPStatus.NOT_FOUND, "not found")

    def do_POST(self) -> None:
        """Answer a request; whatever cannot be read whole ends the connection."""
        body = self._body()
        if body is None:
            self.close_connection = True
        elif self.path != PATH:
            self._say(HTTPStatus.NOT_FOUND, "not found")
        else:
            try:
                answer = self.server.witness.add_checkpoint(body)
            except OSError as error:
                self.close_connection = True
                self.server.fail(error)
                return
            self.answer(answer.status, answer.body, {"Content-Type": answer.content_type})

    def _body(self) -> bytes | None:
        """The whole body; None, and the reason was said, where there is none that may be read."""
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or "Transfer-Encoding" in self.headers:
            self._say(HTTPStatus.LENGTH_REQUIRED, "say the length of the body: Content-Length")
            return None
        if len(length) > 9 or int(length) > MAX_REQUEST:
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {MAX_REQUEST} bytes")
            return None
        body = self.rfile.read(int(length))
        return body if len(body) == int(length) else None

    def _index(self) -> str:
        witness = self.server.witness
        logs = "".join(f"{origin}\n" for origin in sorted(witness.memory.logs))
        return f"A witness of logs (C2SP tlog-witness). Its key:\n{witness.key.public.vkey}\nIts logs:\n{logs}"

    def _say(self, status: HTTPStatus, text: str) -> None:
        self.answer(status, f"{text}\n".encode(), {"Content-Type": TEXT, "Cache-Control": "no-cache"})
