"""The explorer's page on a million agents: from a click to the painted picture, in Chromium.

    python benchmarks/explore.py [--json FILE] [--agents 1000000]

A population of 300 ratings (the published model with random weights, wide layout) is written and
loaded; the server runs in this process. 40 changes in turns, of a filter or of the task; the page's
own clock measures each, from the event to the frame after the new picture is in the document.
Held-out people: 2,000, each with every answer, so that their overlay is counted, too.
"""

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from crowds import make_crowd
from playwright.sync_api import sync_playwright

from crowdllm_jax.explore.data import _read_answers, _read_profiles
from crowdllm_jax.explore.server import make_server
from crowdllm_jax.explore.view import Explored, HeldOut
from crowdllm_jax.model.cvae.config import CvaeConfig
from crowdllm_jax.population.read import read_manifest
from crowdllm_jax.population.write import write_population
from crowdllm_jax.study.records import Attribute

TASKS, PEOPLE, CHANGES = 300, 2000, 40
CHANGE = """
(pick) => new Promise((done) => {
  const target = document.querySelectorAll(pick.where)[pick.which];
  let began;
  const watch = new MutationObserver(() => {
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
  });
  watch.observe(document.querySelector("#picture"), { childList: true });
  began = performance.now();
  target.click();
})
"""


def load(agents: int) -> tuple[Explored, float]:
    """A population and people, and the seconds it took to load it."""
    crowd = make_crowd(CvaeConfig(), tasks=TASKS)
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "p"
        write_population(crowd, folder, agents, 0, layout="wide")
        began = time.perf_counter()
        manifest = read_manifest(folder)
        answers = _read_answers(folder, manifest, lambda *_: None)
        profile = _read_profiles(folder, manifest, crowd.generator.attributes)
        took = time.perf_counter() - began
    own = tuple(
        Attribute(a.name, a.kind, a.levels, random.integers(0, len(a.levels), PEOPLE))
        for a in profile
    )
    person, task = (axis.ravel() for axis in np.indices((PEOPLE, TASKS)))
    answer = random.integers(0, 5, PEOPLE * TASKS).astype(float)
    humans = HeldOut(own, np.ones(PEOPLE), person, task, answer)
    ids = crowd.task_ids
    return Explored("bench", ids, ids, crowd.task_scales, agents, profile, answers, humans), took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, help="write the records here")
    args = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        raise SystemExit("needs Chromium")
    explored, loading = load(args.agents)
    server = make_server(0)
    server.explored = explored
    threading.Thread(target=server.serve_forever, daemon=True).start()
    random = np.random.default_rng(1)
    times: dict[str, list[float]] = {"filter": [], "task": []}
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=browser, args=flags)
        page = chrome.new_page(viewport={"width": 1400, "height": 900})
        page.goto(server.url)
        page.locator("#picture svg").wait_for()
        boxes = page.locator("input[type=checkbox]").count()
        for change in range(CHANGES):
            kind = ("filter", "task")[change % 2]
            where, most = (("input[type=checkbox]", boxes), ("#tasks li", TASKS))[change % 2]
            pick = {"where": where, "which": int(random.integers(most))}
            times[kind].append(page.evaluate(CHANGE, pick))
            page.wait_for_timeout(100)
        chrome.close()
    server.shutdown()
    variant = f"{args.agents:,} agents x {TASKS} tasks"
    records: list[dict[str, object]] = []

    def add(metric: str, value: float, unit: str) -> None:
        print(f"{metric:32}{value:10.4g} {unit}")
        records.append(
            {
                "benchmark": "explore",
                "variant": variant,
                "metric": metric,
                "value": value,
                "unit": unit,
                "device": "cpu",
            }
        )

    for kind, own in {**times, "any": times["filter"] + times["task"]}.items():
        add(f"{kind} change, median", float(np.median(own)), "ms")
        add(f"{kind} change, 95%", float(np.quantile(own, 0.95)), "ms")
        add(f"{kind} change, slowest", max(own), "ms")
    add("loading", loading, "s")
    add("columns in memory", explored.bytes / 1e6, "MB")
    if args.json:
        args.json.write_text(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
