"""A run's crowd as tools of the Model Context Protocol, for a language model that asks it.

`ask` and `infer` answer what the commands of these names print with --json; beside it stands how
near the run's crowd comes to people who were not shown to it, next to knowing nothing (the floor)
and another sample of people (the ceiling).
"""

import argparse
import json
import re
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from pydantic import ValidationError

from crowdllm_jax.cli.commands.ask import add_ask
from crowdllm_jax.cli.commands.infer import add_infer
from crowdllm_jax.cli.outcome import Outcome
from crowdllm_jax.errors import CrowdError, CrowdWarning
from crowdllm_jax.model.crowd import Crowd
from crowdllm_jax.population.sample import sample as draw
from crowdllm_jax.report.page import scoreboard
from crowdllm_jax.report.scorecard import headline, scorecard
from crowdllm_jax.runs.folder import fitted_crowd, main_model, stored_config
from crowdllm_jax.runtime.progress import silent
from crowdllm_jax.runtime.version import __version__
from crowdllm_jax.score.metrics import read_scores
from crowdllm_jax.study.scale_text import describe
from crowdllm_jax.workflow.steps import findings

MOST = 200
"""Agents, or questions, that are told one by one."""

INSTRUCTIONS = """\
A digital population that was fitted to a sample of real people's answers. Agents are not people:
say so, and give the interval and how near the crowd comes to people with every number you repeat.
`describe` first: it has the questions' ids, the attributes and what the crowd is worth. `ask` puts
a question that nobody has answered; `infer` estimates about real people, with valid intervals;
`sample` shows single agents, from whom nothing is to be estimated."""


def make_server(run: Path) -> MCPServer:
    """The tools of a run.

    Raises:
      CrowdError: the folder is no run folder, nothing is fitted in it yet, or it is not scored.
    """
    tools = Tools(run, fitted_crowd(run), _plain(_worth(run)))
    return MCPServer(
        "crowdllm",
        instructions=INSTRUCTIONS,
        version=__version__,
        log_level="WARNING",
        tools=[_exact(tool) for tool in (tools.describe, tools.ask, tools.infer, tools.sample)],
    )


class _ExactTool(Tool):
    """A tool that takes its own arguments alone. The protocol's package lets others pass unread,
    and `filter` in place of `where` would be answered with everybody's numbers."""

    async def run(self, arguments: dict[str, Any], *more: Any, **options: Any) -> Any:
        """Raises ToolError of an argument that the tool has not, or that is of another kind."""
        known = self.parameters["properties"]
        if odd := [name for name in arguments if name not in known]:
            raise ToolError(
                f"{self.name}: has no argument '{odd[0]}'; it has: {', '.join(known) or 'none'}"
            )
        try:
            return await super().run(arguments, *more, **options)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            odd_one = error.__cause__.errors()[0]
        name = str(odd_one["loc"][0])
        is_what = "missing" if odd_one["type"] == "missing" else json.dumps(arguments[name])
        raise ToolError(f"{self.name}: {name} is {is_what}; give {_wanted(known[name])}")


def _wanted(schema: Mapping[str, Any]) -> str:
    """What an argument takes, in words."""
    kind = schema.get("anyOf", [schema])[0]  # the other one is null: it may be left out
    if kind["type"] == "array":
        return f"a list of {'texts' if kind['items']['type'] == 'string' else 'numbers'}"
    words = {"string": "a text", "number": "a number", "integer": "a whole number"}
    return words.get(kind["type"], "true or false")


def _exact(function: Callable[..., Any]) -> Tool:
    """A function as a tool, whose schema says that there are no other arguments."""
    tool = _ExactTool.from_function(function)
    tool.parameters["additionalProperties"] = False
    return tool


@dataclass(frozen=True)
class Tools:
    """What may be asked of a run; the docstrings are read by the language models that ask.

    Attributes:
      worth: what its scores say of its crowd. lock: answers one at a time.
    """

    run: Path
    crowd: Crowd
    worth: Mapping[str, Any]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def describe(self) -> dict[str, Any]:
        """What the crowd was asked, whom it stands for, and how near it comes to people."""
        crowd = self.crowd
        names = list(crowd.scales)
        known = zip(crowd.task_ids, crowd.task_scale, strict=True)
        return {
            "scales": {name: describe(scale) for name, scale in crowd.scales.items()},
            "questions": {task: names[scale] for task, scale in islice(known, MOST)},
            "questions in all": len(crowd.task_ids),
            "attributes": {
                a.name: list(a.levels) or "a number" for a in crowd.generator.attributes
            },
            "worth": self.worth,
        }

    # Nine arguments: of a tool each is told by its name.
    def ask(
        self,
        question: str,
        scale: str | None = None,
        options: list[str] | None = None,
        kind: str | None = None,
        shares: list[float] | None = None,
        people: float | None = None,
        where: str | None = None,
        by: str | None = None,
    ) -> dict[str, Any]:
        """The shares of the answers to a new question, with 90% intervals.

        Args:
          scale: name of one of the run's scales, or options: the answers, lowest first, and kind:
            ordinal, nominal, binary or continuous (whose options are its ends).
          shares: known shares of the answers, lowest first, people: of how many people (1000).
          where: a condition such as "age >= 60 and gender == 'woman'". by: an attribute whose
            values are told apart.
        """
        return self._answered(
            "ask",
            *_flags(scale=scale, kind=kind, people=people, where=where, by=by),
            *([] if options is None else [f"--options={','.join(map(_quoted, options))}"]),
            *([] if shares is None else [f"--shares={','.join(map(repr, shares))}"]),
            question=question,
        )

    def infer(
        self,
        tasks: list[str] | None = None,
        share: str | None = None,
        regress: list[str] | None = None,
        pool: bool = False,
        twins: bool = False,
        where: str | None = None,
        level: float | None = None,
    ) -> dict[str, Any]:
        """Estimates about real people from the answers that the run held out and its crowd.

        Args:
          tasks: ids; all by default. share: the answer whose share is estimated, else the mean
            answer, or regress: attributes on which the answer is regressed. pool: take the tasks
            together, where each has few answers. twins: people are known by their other answers,
            too. level: of the intervals (0.95).
        """
        return self._answered(
            "infer",
            *_flags(share=share, where=where, level=level),
            *(flag for flag, wanted in (("--pool", pool), ("--twins", twins)) if wanted),
            *(f"--tasks={_quoted(task)}" for task in tasks or ()),
            *(f"--regress={_quoted(name)}" for name in regress or ()),
        )

    def sample(
        self, agents: int = 10, seed: int | None = None, where: str | None = None
    ) -> dict[str, Any]:
        """Single agents, with their profiles and what they answer to the run's questions.

        Args:
          seed: of their answers; by default the run's, whose agents they then are.
        """
        if not 1 <= agents <= MOST:
            raise ToolError(f"sample: tells of 1 to {MOST} agents; estimate with `infer` or `ask`")
        try:
            with self.lock:
                own = stored_config(self.run).population.seed if seed is None else seed
                drawn = draw(self.crowd, agents, own, where=where)
        except CrowdError as error:
            raise ToolError(_unflagged(f"sample: {error}")) from error
        return _plain({"agents": drawn.to_arrow().to_pylist(), "worth": self.worth})

    def _answered(self, command: str, *flags: str, question: str | None = None) -> dict[str, Any]:
        """What a command prints with --json, what it warns of, and what the crowd is worth."""
        line = [command, *flags, "--", str(self.run), *([] if question is None else [question])]
        misused = StringIO()
        with self.lock, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CrowdWarning)
            try:
                with redirect_stderr(misused):
                    given = _parser().parse_args(line)
                told = _plain(given.handler(given, silent))
            except CrowdError as error:
                raise ToolError(_unflagged(str(error))) from error
            except SystemExit as error:
                last = misused.getvalue().strip().splitlines()[-1]
                raise ToolError(_unflagged(last)) from error
        warned = [
            _unflagged(str(w.message)) for w in caught if issubclass(w.category, CrowdWarning)
        ]
        table = told if isinstance(told, dict) else {"estimates": told}
        return {**table, "warnings": warned, "worth": self.worth}


def _plain(told: Outcome | dict[str, Any]) -> Any:
    """As it is in JSON, which has no NaN."""
    return json.loads((told if isinstance(told, Outcome) else Outcome(data=told)).as_json)


def _parser() -> argparse.ArgumentParser:
    """Of the commands that answer."""
    crowdllm = argparse.ArgumentParser(prog="crowdllm")
    commands = crowdllm.add_subparsers(dest="command")
    add_ask(commands)
    add_infer(commands)
    return crowdllm


def _flags(**values: str | float | None) -> list[str]:
    """One word each, so that no value is taken for a flag."""
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def _unflagged(message: str) -> str:
    """A command's message, whose flags are a tool's arguments."""
    return re.sub(r"(?<![\w-])--(?=[a-z])", "", message)


def _quoted(name: str) -> str:
    """A name as it stands in a list with commas between."""
    return '"' + name.replace('"', '""') + '"'


def _worth(run: Path) -> dict[str, Any]:
    """What the run's scores say of its crowd, in a sentence and in numbers."""
    config, path = stored_config(run), run / "scores.json"
    try:
        scores = read_scores(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise CrowdError(
            f"{path}: cannot be read; run `crowdllm evaluate {run}` first, since a crowd whose "
            "worth nobody knows is not served"
        ) from error
    if config.split.by == "answers":
        from crowdllm_jax.report.answers_page import headline as of_answers

        return {"in short": of_answers(scores)}
    board, main = dict(scoreboard(scores)), main_model(config)
    seeds = len({score.seed for score in scores})
    measures = {
        line.heading: {
            "better": line.best,
            "crowd": line.crowd[0],
            **_unsure(line.crowd, seeds),
            "floor": line.marginal and line.marginal[0],
            "ceiling": line.ceiling and line.ceiling[0],
        }
        for line in scorecard(board, main)
        if line.metric in ("rps", "avg_wd", "mae")
    }
    short = headline(board[main].get("skill"), findings(run), seeds)
    return {"in short": short, "measures": measures}


def _unsure(value: tuple[float, float, float], seeds: int) -> dict[str, Any]:
    """The interval of what one seed says, and of several their standard deviation."""
    middle, low, high = value
    return {"interval": [low, high]} if seeds == 1 else {"sd over seeds": high - middle}
