"""The explorer: what it counts, what it answers to, and the page in a browser."""

import http.client
import json
import os
import shutil
import threading
from urllib.parse import quote

import numpy as np
import pytest

from crowdllm_jax.explore.data import _read_answers, _read_profiles, held_out_people
from crowdllm_jax.explore.server import make_server
from crowdllm_jax.explore.view import Explored, Query, view
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.read import read_manifest
from crowdllm_jax.population.write import write_population
from crowdllm_jax.study.scales import Continuous

N, SEED = 3000, 4


def read(folder, mixed_crowd, mixed_study, layout) -> Explored:
    write_population(mixed_crowd, folder, N, SEED, layout=layout)
    manifest = read_manifest(folder)
    answers = _read_answers(folder, manifest, lambda *_: None)
    profile = _read_profiles(folder, manifest, mixed_crowd.generator.attributes)
    everybody = np.ones(len(mixed_study.task), bool)
    humans = held_out_people(mixed_study, everybody, mixed_crowd)
    ids = mixed_crowd.task_ids
    return Explored("x", ids, ids, mixed_crowd.task_scales, N, profile, answers, humans)


@pytest.fixture(scope="module")
def explored(tmp_path_factory, mixed_crowd, mixed_study) -> Explored:
    return read(tmp_path_factory.mktemp("explore") / "p", mixed_crowd, mixed_study, "wide")


def test_both_layouts_are_read_alike(explored, tmp_path, mixed_crowd, mixed_study):
    long = read(tmp_path / "p", mixed_crowd, mixed_study, "long")
    for one, other in zip(long.answers, explored.answers, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(long.profile, explored.profile, strict=True):
        np.testing.assert_array_equal(one.cells, other.cells)


def test_counts_equal_brute_force(explored, mixed_crowd):
    agents = population.sample(mixed_crowd, N, SEED)
    age, city = agents.profile
    random = np.random.default_rng(0)
    for _ in range(40):
        task = int(random.integers(len(explored.task_ids)))
        scale = explored.scales[task]
        cities = tuple(level for level in city.levels if random.random() < 0.6)
        low, high = np.sort(random.uniform(15, 85, 2))
        picture = view(
            explored,
            Query(
                task=explored.task_ids[task], levels={"city": cities}, ranges={"age": (low, high)}
            ),
        )
        counted = [
            float(agents.answers[i, task])
            for i in range(N)
            if city.levels[city.cells[i]] in cities and low <= age.cells[i] <= high
        ]
        assert picture.agents == len(counted) == sum(picture.crowd.counts)
        if isinstance(scale, Continuous):
            edges = np.linspace(scale.low, scale.high, 21)
            expected = np.histogram(counted, edges)[0].tolist()
            if counted:
                assert picture.crowd.mean == pytest.approx(np.mean(counted), abs=1e-4)
        else:
            expected = [counted.count(level) for level in range(len(picture.labels))]
        assert picture.crowd.counts == expected


def test_levels_of_an_attribute_add_up_to_the_whole(explored):
    for task in explored.task_ids:
        everybody = view(explored, Query(task=task))
        by_city = [view(explored, Query(task=task, levels={"city": (c,)})) for c in "ABC"]
        assert np.sum([p.crowd.counts for p in by_city], axis=0).tolist() == everybody.crowd.counts
        assert sum(p.humans.people for p in by_city if p.humans) <= everybody.humans.people


def test_few_people_are_not_shown(explored):
    picture = view(explored, Query(task="t00", ranges={"age": (200, None)}))
    assert (picture.agents, picture.crowd.mean, picture.humans) == (0, None, None)
    assert "fewer than 5" in picture.no_humans


@pytest.fixture(scope="module")
def server(explored):
    server = make_server(0)
    server.explored = explored
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server, path, host=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host or server.url[7:-1]})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"task": "nope"}, "no question 'nope'"),
        ({"task": "t00", "levels": {"x": []}}, "no attribute 'x'"),
        ({"task": "t00", "levels": {"city": ["Z"]}}, "no level 'Z'"),
        ({"task": "t00", "levels": {"age": ["1"]}}, "takes a range"),
        ({"task": "t00", "ranges": {"age": [9, 3]}}, "is above"),
        ({"task": "t00", "more": 1}, "unknown field"),
        ([], "cannot be understood"),
    ],
)
def test_bad_queries_are_told(server, query, says):
    answer, body = ask(server, "/view?q=" + quote(json.dumps(query)))
    assert answer.status == 400
    assert says in json.loads(body)["error"]


def test_only_this_host_and_these_addresses(server):
    answer, page = ask(server, "/")
    assert answer.status == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert b"http://" not in page.replace(b"http://www.w3.org/2000/svg", b"")
    port = server.server_port
    assert ask(server, "/", f"localhost:{port}")[0].status == 200
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}"):
        assert ask(server, "/study", host)[0].status == 403
    for path in ("/../page.html", "/%2e%2e/etc/passwd", "/page.html"):
        assert ask(server, path)[0].status == 404
    assert ask(server, "/", method="POST")[0].status == 405
    assert ask(server, "/view")[0].status == 400


def test_the_page_in_a_browser(server, explored):
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no browser is installed (chromium, google-chrome)")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=browser, args=flags)
        page = chrome.new_page()
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.goto(server.url)
        page.locator("#picture svg").wait_for()
        page.locator("input[type=checkbox]").first.focus()
        page.keyboard.press("Space")
        page.focus("#search")
        for _ in range(2):
            page.keyboard.press("ArrowDown")
        expected = view(explored, Query(task="t02", levels={"city": ("B", "C")}))

        def shown():
            page.wait_for_function(
                "n => document.querySelector('#said').textContent.startsWith(n)"
                " && document.querySelector('#title').textContent === 't02'",
                arg=f"{expected.agents:,} of",
            )
            return page.eval_on_selector_all(
                "rect.bar-crowd", "bars => bars.map(bar => Number(bar.dataset.count))"
            )

        assert shown() == expected.crowd.counts
        page.reload()
        assert shown() == expected.crowd.counts
        assert told == []
        chrome.close()
