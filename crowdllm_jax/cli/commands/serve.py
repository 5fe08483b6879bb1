"""`serve`, which lets language models ask a crowd."""

import argparse
import os
import signal
import socket

from crowdllm_jax.cli.arguments import Commands, add_command, add_run_folder
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.runtime.progress import Progress

HERE, LAST_PORT = "127.0.0.1", 65_535


def add_serve(commands: Commands) -> None:
    """Add `serve`."""
    command = add_command(
        commands,
        "serve",
        serve,
        "let a language model ask the crowd (Model Context Protocol)",
        "Serve a run's crowd to a program that speaks the Model Context Protocol: as its child,\n"
        "over standard input and output, or with --port to this machine alone. Its tools are\n"
        "describe, ask, infer and sample; every answer says how near the crowd comes to people.\n"
        "Needs pip install 'crowdllm-jax[mcp]'.",
        "crowdllm serve runs/anes96",
    )
    add_run_folder(command)
    command.add_argument(
        "--port", metavar="P", type=int, help="serve http://127.0.0.1:P/mcp instead"
    )
    # What others take as options: here standard output is the protocol's.
    command.set_defaults(quiet=True, json=False)


def serve(arguments: argparse.Namespace, _: Progress) -> Outcome:
    """Serve until the other side, or Ctrl-C, ends it."""
    port = arguments.port
    if port is not None and not 1 <= port <= LAST_PORT:
        raise CrowdError(f"--port: {port} is no port; give one from 1 to {LAST_PORT}")
    try:
        from crowdllm_jax.cli.served import make_server
    except ImportError as error:
        if (error.name or "").split(".")[0] != "mcp":
            raise
        raise CrowdError("serve: needs the package mcp; pip install 'crowdllm-jax[mcp]'") from error
    server = make_server(arguments.run)
    if port is not None:
        _check_free(port)
    # Ctrl-C is how it ends, and interrupts nothing that could be gone on with.
    signal.signal(signal.SIGINT, _end)
    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host=HERE, port=port)
    return Outcome()


def _end(*_: object) -> None:
    """At once: whoever reads standard input would be waited for until a line comes."""
    os.write(2, b"ended\n")
    os._exit(0)


def _check_free(port: int) -> None:
    """Before a server finds out, and ends the process in its own way."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, port))
        except OSError as error:
            raise CrowdError(f"--port: {port} cannot be opened; give another") from error
