"""Those agents of a written population who fulfil a condition, and agents recruited under one."""

import numpy as np
import pytest
from known_people import make_known

from crowdllm_jax.aggregate.decide import decide
from crowdllm_jax.errors import CrowdError
from crowdllm_jax.population.among import agents_among
from crowdllm_jax.population.count import count
from crowdllm_jax.population.read import open_population
from crowdllm_jax.population.sample import sample
from crowdllm_jax.population.write import write_population
from crowdllm_jax.study.condition import condition_of

AGENTS = 500


@pytest.fixture(scope="module")
def crowd():
    return make_known().crowd


@pytest.fixture(scope="module")
def folder(crowd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("population") / "all"
    write_population(crowd, folder, AGENTS, 3)
    return folder


def test_only_agents_who_are_so_are_aggregated(crowd, folder):
    condition = condition_of("age >= 40 and city in ['A', 'B']")
    agents = sample(crowd, AGENTS, 3)
    kept = condition.holds(agents.profile, AGENTS)
    assert 20 < kept.sum() < AGENTS - 20
    everybody = open_population(folder)
    some = agents_among(folder, everybody, condition)
    found = np.concatenate(list(some.blocks()))
    np.testing.assert_array_equal(found, agents.answers[kept])
    assert some.people == kept.sum()
    assert some.effective == pytest.approx(everybody.effective * kept.mean())
    table = decide(folder, where=condition.text)
    # Levels 0 to 4 count 1 to 5.
    np.testing.assert_allclose(table["mean"], agents.answers[kept].mean(0) + 1, rtol=1e-6)


def test_nobody_or_nothing_such_is_told(folder):
    with pytest.raises(CrowdError, match=r"none of the 500 agents is so; recruit some"):
        decide(folder, where="age > 300")
    with pytest.raises(CrowdError, match=r"nobody's city is 'D'; there are: .*"):
        decide(folder, where="city == 'D'")


def test_agents_recruited_under_a_condition_have_the_beliefs_of_their_ids(crowd):
    """The condition changes whose profile agents have, and nothing else of them."""
    agents = sample(crowd, 200, 3, where="city == 'C'")
    city = agents.profile[1]
    assert {city.levels[cell] for cell in city.cells} == {"C"}
    counts = count(crowd, 200, 3, by="city", where="city in ['A', 'B']")
    assert counts.groups == ("A", "B")
    assert counts.members.sum() == 200
    again = sample(crowd, 50, 3, start=100, where="city == 'C'")
    np.testing.assert_array_equal(again.answers, agents.answers[100:150])
