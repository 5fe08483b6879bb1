"""`serve`: the tools of a run, in this process and as the child of a program that speaks MCP."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from few_drawings import few_drawings  # noqa: F401
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from synthetic import make_study, write_config

from crowdllm_jax.cli.main import main
from crowdllm_jax.cli.served import MOST, make_server
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.model.persistent.config import PersistentConfig
from crowdllm_jax.runs.config import load_config
from crowdllm_jax.workflow import steps

QUESTION = "Is it good?"
SHARES = [10.0, 20.0, 40.0, 20.0, 10.0]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    study = make_study(people=200)
    config = load_config(write_config(folder / "input", study))
    model = PersistentConfig(latent=2, injected=0, steps=20)
    steps.run(msgspec.structs.replace(config, model=model), folder / "out")
    return folder / "out"


@pytest.fixture(scope="module")
def server(run):
    return make_server(run)


def call(server, tool: str, **arguments):
    async def one():
        async with Client(server) as client:
            return await client.call_tool(tool, arguments)

    return asyncio.run(one())


def printed(capsys, *command: str):
    capsys.readouterr()
    assert main([*command, "--quiet", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_tool_answers_what_its_command_prints(run, server, capsys):
    """And says beside it what the crowd is worth, with floor, ceiling and interval."""
    scale = next(iter(call(server, "describe").structured_content["scales"]))
    asked = call(server, "ask", question=QUESTION, scale=scale, shares=SHARES).structured_content
    shares = ",".join(map(str, SHARES))
    command = ("ask", str(run), QUESTION, "--scale", scale, "--shares", shares)
    for key, value in printed(capsys, *command).items():
        assert asked[key] == value
    told = call(server, "infer")
    assert not told.is_error, told.content
    told = told.structured_content
    assert told["estimates"] == printed(capsys, "infer", str(run))
    scores = {(s["model"], s["metric"]): s for s in json.loads((run / "scores.json").read_bytes())}
    for answer in (asked, told):
        rps = answer["worth"]["measures"]["RPS"]
        crowd = scores["persistent", "rps"]
        assert rps["crowd"] == crowd["value"]
        assert rps["interval"] == [crowd["low"], crowd["high"]]
        assert rps["ceiling"] == scores["humans", "rps"]["value"]
        assert rps["floor"] == scores["marginal", "rps"]["value"]
        assert answer["worth"]["in short"]


def test_estimates_pool_tasks_and_know_people_by_their_answers(run, server, capsys):
    for flags in (("pool",), ("twins",), ("pool", "twins")):
        told = call(server, "infer", **dict.fromkeys(flags, True)).structured_content
        assert told["estimates"] == printed(
            capsys, "infer", str(run), *(f"--{flag}" for flag in flags)
        )


def test_agents_are_those_of_the_run(run, server, capsys):
    own = call(server, "sample", agents=3).structured_content["agents"]
    assert own == call(server, "sample", agents=3, seed=3).structured_content["agents"]
    shown = call(server, "sample", agents=3, seed=5).structured_content["agents"]
    more = call(server, "sample", agents=9, seed=5).structured_content["agents"]
    assert shown == more[:3]
    assert [agent["agent_id"] for agent in more] == list(range(9))


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("infer", {"tasks": ["nope"]}, "the study has no task 'nope'"),
        ("infer", {"tasks": ["a, b"]}, "the study has no task 'a, b'"),
        ("ask", {"question": QUESTION, "kind": "odd"}, "invalid choice: 'odd'"),
        ("ask", {"question": QUESTION}, "known shares (shares"),
        ("sample", {"agents": MOST + 1}, "1 to 200 agents"),
        ("sample", {"where": "height > 3"}, "height"),
        ("sample", {"filter": "age > 3"}, "no argument 'filter'; it has: agents, seed, where"),
        ("describe", {"where": "age > 3"}, "no argument 'where'; it has: none"),
        ("ask", {}, "ask: question is missing; give a text"),
        ("ask", {"question": 5}, "ask: question is 5; give a text"),
        ("ask", {"question": QUESTION, "options": "a,b"}, '"a,b"; give a list of texts'),
        ("ask", {"question": QUESTION, "shares": [1, "b"]}, "; give a list of numbers"),
        ("infer", {"level": "high"}, 'infer: level is "high"; give a number'),
        ("infer", {"pool": "maybe"}, 'infer: pool is "maybe"; give true or false'),
        ("sample", {"agents": 2.5}, "sample: agents is 2.5; give a whole number"),
    ],
)
def test_what_cannot_be_told_is_said(server, tool, arguments, says):
    answer = call(server, tool, **arguments)
    assert answer.is_error
    assert says in answer.content[0].text
    assert "pydantic" not in answer.content[0].text
    assert "--" not in answer.content[0].text, "who asks has arguments, and no flags"


def test_no_value_is_taken_for_a_flag(run, server, tmp_path):
    """Whoever asks can neither write elsewhere nor read other files."""
    out = tmp_path / "elsewhere"
    for words in ({"question": f"--out={out}"}, {"question": "x", "by": f"y --out={out}"}):
        call(server, "ask", scale="rating", shares=SHARES, **words)
        assert not out.exists()
    assert {path.parent for path in run.rglob("asked.json")} <= set((run / "asked").iterdir())


def test_a_program_speaks_with_it_as_its_child(run):
    """Nothing but the protocol goes to standard output."""
    child = StdioServerParameters(
        command=sys.executable,
        args=["-m", "crowdllm_jax.cli", "serve", str(run)],
        env=dict(os.environ),
    )

    async def tools():
        async with Client(child) as client:
            listed = await client.list_tools()
            return [tool.name for tool in listed.tools], await client.call_tool("describe", {})

    names, described = asyncio.run(tools())
    assert names == ["describe", "ask", "infer", "sample"]
    assert described.structured_content["questions in all"] > 0


def test_its_tools_say_that_they_have_no_other_arguments(server):
    """A condition under another name would else be answered with everybody's numbers."""
    listed = asyncio.run(server.list_tools())
    assert {tool.name: tool.input_schema["additionalProperties"] for tool in listed} == {
        "describe": False,
        "ask": False,
        "infer": False,
        "sample": False,
    }


@pytest.mark.parametrize("over_http", [False, True])
def test_ctrl_c_ends_it_and_interrupts_nothing(run, over_http):
    port = _free_port()
    options = ["--port", str(port)] if over_http else []
    command = [sys.executable, "-m", "crowdllm_jax.cli", "serve", str(run), *options]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **streams) as served:
        if over_http:
            _await_port(port)
        else:
            served.stdin.write(json.dumps(HELLO).encode() + b"\n")
            served.stdin.flush()
            assert served.stdout.readline()
        served.send_signal(signal.SIGINT)
        # Its standard input stays open.
        code = served.wait(timeout=60)
        told, rest = served.stderr.read().decode(), served.stdout.read()
    assert (code, rest) == (0, b"")
    assert told.endswith("ended\n")
    assert "continues" not in told


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-03-26",
        "capabilities": {},
        "clientInfo": {"name": "x", "version": "1"},
    },
}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


def test_a_crowd_whose_worth_nobody_knows_is_not_served(run, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in run.iterdir():
        if path.name != "scores.json":
            (copy / path.name).symlink_to(path)
    with pytest.raises(CrowdError, match="crowdllm evaluate"):
        make_server(copy)


def test_what_it_needs_is_told(run, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "crowdllm_jax.cli.served")
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    assert main(["serve", str(run)]) == 2
    assert "crowdllm-jax[mcp]" in capsys.readouterr().err
    assert main(["serve", str(run), "--port", "70000"]) == 2
    assert "--port: 70000" in capsys.readouterr().err


def test_a_port_that_is_taken_is_told(run, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", str(run), "--port", str(taken.getsockname()[1])]) == 2
    assert "cannot be opened; give another" in capsys.readouterr().err
