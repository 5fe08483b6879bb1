"""Studies that come with installed packages, to try everything on without a file."""

from typing import Literal

import numpy as np

from crowdllm_jax.study.records import Attribute, Participants, Study, Tasks
from crowdllm_jax.study.scales import Binary, Ordinal, Scale

Name = Literal["anes96"]
"""What such a study is called in a configuration."""

_PLACES = tuple(range(1, 8))
_LIBERAL = (
    "extremely liberal",
    "liberal",
    "slightly liberal",
    "moderate",
    "slightly conservative",
    "conservative",
    "extremely conservative",
)
_PARTY = (
    "strong Democrat",
    "weak Democrat",
    "independent Democrat",
    "independent",
    "independent Republican",
    "weak Republican",
    "strong Republican",
)

_ANES_TASKS = {
    "self_placement": ("Where would you place yourself on this scale?", "placement", "selfLR"),
    "clinton_placement": (
        "Where would you place Bill Clinton on this scale?",
        "placement",
        "ClinLR",
    ),
    "dole_placement": ("Where would you place Bob Dole on this scale?", "placement", "DoleLR"),
    "party": ("Do you think of yourself as a Democrat or a Republican?", "party", "PID"),
    "vote": ("For whom did you vote, Bill Clinton or Bob Dole?", "vote", "vote"),
    "tv_news": (
        "On how many days of the past week did you watch the news on TV?",
        "days",
        "TVnews",
    ),
}


def anes96() -> Study:
    """944 US voters of 1996, six questions on four scales (American National Election Studies).

    Public domain; comes with statsmodels. Profile: age, education, income, place size.
    """
    # Imported here: statsmodels takes a second to load, and most runs do not need it.
    from statsmodels.datasets import anes96 as source

    table = source.load_pandas().data
    scales: dict[str, Scale] = {
        "placement": Ordinal(levels=_PLACES, labels=_LIBERAL),
        "party": Ordinal(levels=tuple(range(7)), labels=_PARTY),
        "vote": Binary(levels=(0, 1), labels=("Clinton", "Dole")),
        "days": Ordinal(levels=tuple(range(8))),
    }
    n, names = len(table), list(scales)
    low = {"placement": 1}
    answers = np.stack(
        [table[column].to_numpy() - low.get(scale, 0) for _, scale, column in _ANES_TASKS.values()]
    )
    profile = (
        Attribute("age", "numeric", (), table["age"].to_numpy(float)),
        Attribute(
            "education",
            "ordinal",
            (
                "8 grades or less",
                "some high school",
                "high school",
                "some college",
                "junior college",
                "college",
                "advanced degree",
            ),
            table["educ"].to_numpy(int).astype(np.int32) - 1,
        ),
        Attribute("income", "numeric", (), table["income"].to_numpy(float)),
        # Thousands of people; the log is nearly normal where the count is not.
        Attribute("log_place_size", "numeric", (), table["logpopul"].to_numpy(float)),
    )
    return Study(
        name="anes96",
        scales=scales,
        tasks=Tasks(
            ids=tuple(_ANES_TASKS),
            text=tuple(text for text, _, _ in _ANES_TASKS.values()),
            scale=np.array([names.index(s) for _, s, _ in _ANES_TASKS.values()], np.int32),
            attributes=(),
            embedding=None,
        ),
        participants=Participants(tuple(str(i) for i in range(n)), profile, np.ones(n)),
        person=np.repeat(np.arange(n, dtype=np.int32), len(_ANES_TASKS)),
        task=np.tile(np.arange(len(_ANES_TASKS), dtype=np.int32), n),
        answer=answers.T.ravel().astype(np.float64),
    )
