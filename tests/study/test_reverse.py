"""Reverse-keyed items are mirrored as they are read."""

import msgspec
import numpy as np
import pytest
from synthetic import make_study, write_study

from crowdllm_jax.errors import CrowdError
from crowdllm_jax.study.describe import describe
from crowdllm_jax.study.read import read_study
from crowdllm_jax.study.scales import Binary, Continuous, Nominal, Ordinal


def spec(folder, scale, **tasks):
    """A study of one scale on disk, and what its study file says."""
    from crowdllm_jax.runtime.yaml import read_yaml
    from crowdllm_jax.study.spec import StudySpec

    path = write_study(folder, make_study({"it": scale}))
    tree = read_yaml(path) | {"scales": {"it": msgspec.to_builtins(scale)}, "tasks": tasks}
    return msgspec.convert(tree, StudySpec)


@pytest.mark.parametrize(
    "scale",
    [
        Ordinal(levels=(1, 2, 3, 4, 5)),
        Ordinal(levels=("never", "sometimes", "always")),
        Binary(levels=("no", "yes")),
        Continuous(low=-10.0, high=30.0),
    ],
)
def test_answers_are_turned_about_the_middle(scale, tmp_path):
    plain = read_study(spec(tmp_path, scale))
    turned = read_study(spec(tmp_path, scale, reverse=["t01", "t03"]))
    values = plain.value
    # What any textbook on scales says: the lowest plus the highest, minus the answer.
    low, high = (-10, 30) if isinstance(scale, Continuous) else (0, len(scale.levels) - 1)
    if isinstance(scale, Ordinal):
        low, high = low + 1, high + 1
    expected = np.where(np.isin(plain.task, (1, 3)), low + high - values, values)
    np.testing.assert_allclose(turned.value, expected)


def test_it_is_said(tmp_path):
    turned = read_study(spec(tmp_path, Binary(levels=("no", "yes")), reverse=["t02"]))
    assert "mirrored      1 reverse-keyed questions: t02" in describe(turned)
    assert turned.tasks.text[2] == "t02 (reverse-keyed: its answers are mirrored)"
    assert turned.tasks.text[1] == "t01"


def test_what_has_no_mirror_image_is_refused(tmp_path):
    def told(scale, *reverse):
        with pytest.raises(CrowdError) as caught:
            read_study(spec(tmp_path, scale, reverse=list(reverse)))
        return str(caught.value)

    assert "there is no task 't9'" in told(Binary(levels=("no", "yes")), "t9")
    assert "nominal scale" in told(Nominal(levels=("a", "b", "c")), "t01")
    assert "(1, 2, 5) are not the same" in told(Ordinal(levels=(1, 2, 5)), "t01")


def test_answers_of_twins_are_mirrored_too(tmp_path):
    from crowdllm_jax.study.read import read_answers

    known = spec(tmp_path, Ordinal(levels=(1, 2, 3, 4, 5)), reverse=["t00"])
    study = read_study(known)
    again = read_answers(known, study.tasks)
    np.testing.assert_array_equal(again.answer, study.answer)
