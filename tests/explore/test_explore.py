"""The explorer: what it counts, what it answers to, and the page in a browser."""

import dataclasses
import http.client
import json
import os
import shutil
import threading
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import msgspec
import numpy as np
import pytest
from scipy.stats import binomtest

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.explore.asking import Asker, NewQuestion, Reply, Share
from crowdllm_jax.explore.compare import compare
from crowdllm_jax.explore.data import _read_answers, _read_profiles, held_out_people
from crowdllm_jax.explore.server import ASKS, make_server
from crowdllm_jax.explore.view import Explored, Query, select, view
from crowdllm_jax.population import sample as population
from crowdllm_jax.population.read import read_manifest
from crowdllm_jax.population.write import write_population
from crowdllm_jax.profiles.where import condition_of
from crowdllm_jax.study.ids import MISSING
from crowdllm_jax.study.records import Attribute
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


def test_people_have_intervals_of_their_shares(explored):
    people = view(explored, Query(task="t00")).humans
    for count, low, high in zip(people.counts, people.share_low, people.share_high, strict=True):
        ends = binomtest(count, people.people).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx(tuple(ends))


def test_groups_are_what_a_filter_keeps(explored):
    levels = {"city": ("A", "C")}
    told = compare(explored, Query(task="t01", by="city", ranges={"age": (30, None)}))
    assert [group.name for group in told.groups] == ["A", "B", "C"]
    for group in told.groups:
        alone = view(
            explored,
            Query(task="t01", levels={"city": (group.name,)}, ranges={"age": (30, None)}),
        )
        assert (group.agents, group.crowd, group.humans) == (
            alone.agents,
            alone.crowd,
            alone.humans,
        )
    thirds = compare(explored, Query(task="t01", by="age", levels=levels)).groups
    whole = view(explored, Query(task="t01", levels=levels))
    (age,) = (a for a in explored.profile if a.name == "age")
    (city,) = (a for a in explored.profile if a.name == "city")
    known = int((~np.isnan(age.cells) & (city.cells != 1)).sum())
    assert sum(group.agents for group in thirds) == known <= whole.agents
    # Agents are drawn from 24 people, some of one age.
    assert all(0.2 < group.agents / known < 0.5 for group in thirds)
    assert sum(g.humans.people for g in thirds if g.humans) <= whole.humans.people


def test_crossed_questions_equal_brute_force(explored, mixed_study):
    told = compare(explored, Query(task="t01", across="t03", levels={"city": ("B",)})).cross
    (city,) = (a for a in explored.profile if a.name == "city")
    kept = city.cells == city.levels.index("B")
    pairs = list(zip(explored.answers[1][kept], explored.answers[3][kept], strict=True))
    for i, row in enumerate(told.agents):
        assert row == [pairs.count((i, j)) for j in range(5)]
    of_city = next(a for a in mixed_study.participants.profile if a.name == "city")
    people = np.flatnonzero(of_city.cells == of_city.levels.index("B"))
    answer = np.full((len(mixed_study.participants.ids), len(mixed_study.tasks.ids)), -1)
    answer[mixed_study.person, mixed_study.task] = mixed_study.answer
    given = [tuple(answer[person, [1, 3]]) for person in people]
    assert told.people == len(given) >= 5
    expected = [[given.count((i, j)) / len(given) for j in range(5)] for i in range(5)]
    np.testing.assert_allclose(told.shares, expected)
    few = Query(task="t01", across="t03", ranges={"age": (200, None)})
    assert compare(explored, few).cross.shares is None


def test_all_people_or_those_held_out(explored):
    some = dataclasses.replace(explored.humans, called="held-out")
    first = some.person < 8
    held = dataclasses.replace(
        some, person=some.person[first], task=some.task[first], answer=some.answer[first]
    )
    both = dataclasses.replace(explored, humans=held, everyone=some)
    assert view(both, Query(task="t00")).humans.people == 8
    everyone = view(both, Query(task="t00", people="all")).humans
    assert everyone == view(explored, Query(task="t00")).humans


def test_what_cannot_be_compared_is_told(explored):
    with pytest.raises(CrowdError, match="no attribute 'x' to compare"):
        compare(explored, Query(task="t00", by="x"))
    with pytest.raises(CrowdError, match="no question 'nope'"):
        compare(explored, Query(task="t00", across="nope"))


def put(new: NewQuestion) -> Reply:
    """A stand-in for the run's crowd: it refuses, or answers with half of each."""
    if "fail" in new.question:
        raise np.linalg.LinAlgError("Array must not contain infs or NaNs")
    if "refuse" in new.question:
        raise CrowdError("ask: nothing says how people would answer (--shares 1,2)")
    half = Share(0.5, 0.4, 0.625)
    labels = list(new.options) or ["no", "yes"]
    groups = ["(all)", *("AB" if new.by else "")]
    return Reply(labels, groups, [[half] * len(labels)] * len(groups), [], [f"Of {new.where}."])


@pytest.fixture(scope="module")
def server(explored):
    server = make_server(0)
    server.explored = explored
    server.asker = Asker({"two": "no, yes", "long": "one to six " * 9}, put)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server, path, host=None, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers={"Host": host or server.url[7:-1], **headers})
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


def test_only_the_page_asks_and_a_refusal_is_its_message(server):
    path = "/ask?q=" + quote(json.dumps({"question": "why?", "scale": "two"}))
    # A page of another site cannot send a header of its own choosing without being asked first.
    answer, body = ask(server, path)
    assert answer.status == 400
    assert "only the page" in json.loads(body)["error"]
    answer, body = ask(server, path, **{ASKS: "1"})
    assert answer.status == 200
    assert msgspec.json.decode(body, type=Reply) == put(NewQuestion(question="why?"))
    assert ask(server, path, "evil.example", **{ASKS: "1"})[0].status == 403
    refused = "/ask?q=" + quote(json.dumps({"question": "refuse this"}))
    answer, body = ask(server, refused, **{ASKS: "1"})
    assert answer.status == 400
    assert "nothing says how people" in json.loads(body)["error"]
    assert ask(server, "/ask?q=" + quote('{"question": 3}'), **{ASKS: "1"})[0].status == 400


def test_a_fault_of_ours_is_answered_too(server, capsys):
    path = "/ask?q=" + quote(json.dumps({"question": "fail at this"}))
    answer, body = ask(server, path, **{ASKS: "1"})
    assert answer.status == 500
    assert "fault of crowdllm" in json.loads(body)["error"]
    assert "LinAlgError" in capsys.readouterr().err
    assert ask(server, "/study")[0].status == 200


def test_who_is_asked_are_those_who_are_looked_at(explored):
    query = Query(task="t00", levels={"city": ("B", "C")}, ranges={"age": (30.5, 60)})
    where = NewQuestion(question="?", levels=query.levels, ranges=query.ranges).where
    held = condition_of(where).holds(explored.profile, N)
    np.testing.assert_array_equal(held, select(explored.profile, N, query))
    assert NewQuestion(question="?").where is None


def test_who_lacks_a_value_is_asked_where_it_is_ticked():
    cells = np.array([0, 1, 2, 2, 1])
    profile = (Attribute("own car", "categorical", ("no", "yes", MISSING), cells),)
    for kept in (("no", MISSING), (MISSING,), ("yes",), ()):
        query = Query(task="t", levels={"own car": kept})
        where = NewQuestion(question="?", levels=query.levels, ranges={}).where
        held = condition_of(where).holds(profile, len(cells))
        np.testing.assert_array_equal(held, select(profile, len(cells), query))
    # Beside another condition the two stand together.
    levels = {"own car": ("no", MISSING), "own  car": ("yes",)}
    assert not condition_of(NewQuestion(question="?", levels=levels).where).holds(profile, 5).any()


def test_more_options_than_the_page_takes_are_told():
    options = tuple(f"o{i}" for i in range(51))
    with pytest.raises(CrowdError, match="51 answers to choose from; the page asks with at most"):
        Asker({}, put).ask(NewQuestion(question="?", options=options))
    assert len(Asker({}, put).ask(NewQuestion(question="?", options=options[:50])).labels) == 50


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


def check_asking(page):
    """A new question is answered with bars and a table; a refusal stands there as a sentence."""
    page.fill("#new-question", "refuse this")
    page.click("#new-ask")
    page.locator("#ask-fault").wait_for()
    assert page.inner_text("#ask-fault") == "nothing says how people would answer"
    page.fill("#new-question", "Would you?")
    page.select_option("#new-scale", "")
    page.select_option("#new-by", "city")
    page.fill("#new-options", "never | at times | often")
    page.click("#new-ask")
    page.locator("#asked svg").wait_for()
    assert page.locator("#asked rect.bar-crowd").count() == 3
    assert not page.locator("#ask-fault").is_visible()
    assert "Of 'city' in ['B', 'C']." in page.inner_text("#asked")
    with page.expect_download() as awaited:
        page.locator("#asked").get_by_text("Download CSV").click()
    rows = Path(awaited.value.path()).read_text("utf-8-sig").splitlines()
    told = ("all agents", "A", "B")
    heads = ["answer", *(f"{who} ({n})" for who in told for n in ("agents", "interval"))]
    assert rows[0].split(",") == heads
    assert rows[2].startswith("at times,50.0%,40.0% to 62.5%")


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
        page.select_option("#by", "city")
        page.select_option("#across", "t03")
        page.locator("#cross table").wait_for()
        groups = page.locator("#groups table")
        assert "B" in groups.locator("thead th").nth(2).inner_text()
        with page.expect_download() as awaited:
            page.locator("#groups").get_by_text("Download CSV").click()
        heads = Path(awaited.value.path()).read_text("utf-8-sig").splitlines()[0]
        assert heads.startswith("answer,")
        assert "(people)" in heads
        with page.expect_download() as awaited:
            page.locator("#save").get_by_text("Download PNG").click()
        assert Path(awaited.value.path()).read_bytes().startswith(b"\x89PNG")
        check_asking(page)
        # Chromium itself writes of the refusal's status.
        assert [text for text in told if "400 (Bad Request)" not in text] == []
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text())
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate("axe.run()")["violations"]
            assert [one["id"] for one in found] == []
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        chrome.close()
