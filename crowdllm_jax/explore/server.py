"""Serve the page to this machine alone.

Five addresses: `/` the page, `/study` what there is to choose from, `/view?q=QUERY` one picture's
numbers, `/compare?q=QUERY` what stands side by side (QUERY is a `view.Query` in JSON), and
`/ask?q=QUESTION` what agents answer to a new question (an `asking.NewQuestion`). Nothing else is
there. A page of another site that a browser has open must not get at the numbers: only requests for
this very host and port are answered (a name that a stranger points at 127.0.0.1 is another host),
and no answer says that other origins may read it. Nor can it ask, which takes time: a browser sends
the header that `/ask` needs to its own page's server alone.
"""

import base64
import hashlib
import re
import signal
import sys
import threading
import traceback
import webbrowser
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import TypeVar
from urllib.parse import parse_qs

import msgspec
import numpy as np

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.explore.asking import Asker, NewQuestion
from crowdllm_jax.explore.compare import compare
from crowdllm_jax.explore.view import Explored, HeldOut, Query, view
from crowdllm_jax.report.bars import meaning_of_mean
from crowdllm_jax.study import scale_text, scales
from crowdllm_jax.study.records import Attribute

HOST = "127.0.0.1"
ASKS = "X-Crowdllm-Asks"
_Asked = TypeVar("_Asked", bound=msgspec.Struct)


class Server(ThreadingHTTPServer):
    """Listens on the loopback interface; `explored` is set before it serves, and `asker` where new
    questions can be asked."""

    explored: Explored
    asker: Asker | None = None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server_port}/"

    @cached_property
    def page(self) -> bytes:
        """The page, which asks for everything else."""
        return (files("crowdllm_jax.explore") / "page.html").read_bytes()

    @cached_property
    def policy(self) -> str:
        """Content-Security-Policy: the page's own script and style, and this server's numbers."""
        allowed = []
        for tag in ("script", "style"):
            texts = re.findall(rb"<%b>(.*?)</%b>" % (tag.encode(), tag.encode()), self.page, re.S)
            digests = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in texts]
            allowed.append(f"{tag}-src " + " ".join(f"'sha256-{digest}'" for digest in digests))
        return (
            f"default-src 'none'; {'; '.join(allowed)}; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )

    @cached_property
    def study(self) -> bytes:
        """What there is to choose from, in JSON."""
        scales_of = [] if self.asker is None else [[*pair] for pair in self.asker.scales.items()]
        return msgspec.json.encode(what_there_is(self.explored) | {"scales": scales_of})

    def handle_error(self, request: object, client_address: object) -> None:
        """Show what went wrong with a request, unless its browser is gone."""
        # A browser that is closed, or reloads, hangs up.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def make_server(port: int) -> Server:
    """Take a port (0: any that is free).

    Raises:
      CrowdError: it cannot be had.
    """
    if not 0 <= port <= 65535:
        raise CrowdError(f"--port {port}: give a port from 1 to 65535, or none")
    try:
        return Server((HOST, port), _Handler)
    except OSError as error:
        raise CrowdError(
            f"--port {port}: cannot be had ({error.strerror}); leave it out to take "
            "one that is free"
        ) from error


def serve(
    server: Server, explored: Explored, asker: Asker | None = None, *, browse: bool = False
) -> None:
    """Answer until Ctrl-C; browse: open the page in the user's browser."""
    server.explored, server.asker = explored, asker
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if browse:
            # A browser in the terminal comes back when it is closed.
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGINT, before)
        server.server_close()


def what_there_is(explored: Explored) -> dict[str, object]:
    """Attributes with their levels, and tasks, for the page to choose from."""
    humans = explored.humans
    held = np.zeros(len(explored.task_ids), int)
    if isinstance(humans, HeldOut):
        held = np.bincount(humans.task, minlength=len(held))
    return {
        "name": explored.name,
        "agents": explored.agents,
        "attributes": [_attribute(attribute) for attribute in explored.profile],
        "tasks": [
            {
                "id": task,
                "text": text,
                "scale": scale_text.describe(scale),
                "mean": meaning_of_mean(scale),
                "ends": scales.values(scale)[[0, -1]].tolist(),
                "share": scales.size(scale) == 2 and bool(meaning_of_mean(scale)),
                "humans": int(people),
            }
            for task, text, scale, people in zip(
                explored.task_ids, explored.texts, explored.scales, held, strict=True
            )
        ],
        "everyone": explored.everyone is not None,
        "called": humans.called if isinstance(humans, HeldOut) else "held-out",
        "no_humans": humans if isinstance(humans, str) else "",
    }


def _attribute(attribute: Attribute) -> dict[str, object]:
    shown: dict[str, object] = {"name": attribute.name, "kind": attribute.kind}
    if attribute.kind == "numeric":
        numbers = attribute.cells[~np.isnan(attribute.cells)]
        ends = [float(numbers.min()), float(numbers.max())] if len(numbers) else None
        return shown | {"ends": ends, "missing": len(attribute.cells) - len(numbers)}
    count = np.bincount(attribute.cells, minlength=len(attribute.levels))
    return shown | {"levels": attribute.levels, "agents": count.tolist()}


class _Handler(BaseHTTPRequestHandler):
    """One browser's connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "crowdllm"
    sys_version = ""
    # A small answer is not held back to be sent with the next one.
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        hosts = self.headers.get_all("Host") or []
        port = self.server.server_port
        if len(hosts) != 1 or hosts[0].lower() not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(403, f"this server answers to {HOST}:{port} only")
            return
        path, _, query = self.path.partition("?")
        if path == "/":
            self._send(200, "text/html; charset=utf-8", self.server.page)
        elif path == "/study":
            self._send(200, "application/json", self.server.study)
        elif path in ("/view", "/compare", "/ask"):
            try:
                told = self._ask(query) if path == "/ask" else self._counted(path, query)
            except CrowdError as error:
                self.send_error(400, str(error))
            except Exception:  # whoever waits for the answer is told of any fault
                traceback.print_exc()
                self.send_error(
                    500, "this is a fault of crowdllm; the terminal of `crowdllm explore` says more"
                )
            else:
                self._send(200, "application/json", msgspec.json.encode(told))
        else:
            self.send_error(404, "there are /, /study, /view, /compare and /ask")

    def _counted(self, path: str, query: str) -> msgspec.Struct:
        counted = view if path == "/view" else compare
        return counted(self.server.explored, _query(query, Query))

    def _ask(self, query: str) -> msgspec.Struct:
        if self.headers.get(ASKS) is None:
            raise CrowdError(f"only the page itself asks (with the header {ASKS})")
        if self.server.asker is None:
            raise CrowdError("no new questions can be asked of this population")
        return self.server.asker.ask(_query(query, NewQuestion))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with {"error": message}; http.server comes here, too, as with a POST."""
        del explain  # http.server's second sentence
        code = 405 if code == 501 else code
        text = message or HTTPStatus(code).phrase
        # What else the client sends is not understood, so it is not read.
        self.close_connection = True
        self._send(code, "application/json", msgspec.json.encode({"error": text}))

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": self.server.policy,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }
        if code == 405:
            headers["Allow"] = "GET"
        if self.close_connection or "Content-Length" in getattr(self, "headers", ()):
            # A body that nobody asked for would be taken for the next request.
            headers["Connection"] = "close"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_message: object) -> None:
        """Say nothing."""


def _query(text: str, kind: type[_Asked]) -> _Asked:
    """Read what is asked."""
    try:
        fields = parse_qs(text, strict_parsing=True, errors="strict", max_num_fields=1)
        if list(fields) != ["q"]:
            raise ValueError("its one field is q")
        return msgspec.json.decode(fields["q"][0], type=kind)
    except (ValueError, msgspec.MsgspecError) as error:
        raise CrowdError(f"the question to the server cannot be understood: {error}") from error
