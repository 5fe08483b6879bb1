"""Bands of numbers stand in their order."""

import random

import pytest

from crowdllm_jax.study.draft.bands import ordered_bands


@pytest.mark.parametrize(
    "bands",
    [
        "under 18|18-24|25-34|35 to 44|45+",
        "Under $25,000|$25,000 - $49,999|$50,000 - $99,999|$100,000 or more",
        "unter 20|20 bis 39|40 bis 59|60 und älter",
        "none|1-2|3-5|more than 5",
        "≤5|6-10|11-20|≥21",
        "<1|1|2|3|4|5|>5",
        "1|2|3|more than 3",
        "Never|Once|Twice|Three or more times",
        "One|Two|Three or more",
        "Less than 1 hour|1-2 hrs|more than 3 h",
        "0|1k-5k|5k-10k|more than 10k",
        "Never|1-2 times|3-4 times|5 or more times",
        "$0|Less than $25,000|$25,000-$49,999|$50,000 or more",
        "unter 1000 €|1000 bis unter 2000 €|2000 bis unter 3000 €|3000 € und mehr",
        "Nobody|1-2 people|3-5 people|More than 5 people",
        "0%|1-25%|26-50%|More than 50%",
        "None|1|2|3 or more",
        "1 person|2 people|3-4 people|5+ people",
        "keine|1 Tag|2 Tage|3 Tage +",
        "0 h|1 h|> 2 h",
        "18岁以下|18~25|26~30|60以上",
    ],
)
def test_from_the_lowest_on(bands):
    levels = bands.split("|")
    for seed in range(4):
        assert ordered_bands(random.Random(seed).sample(levels, len(levels))) == tuple(levels)


@pytest.mark.parametrize(
    "texts",
    [
        "tea|coffee",
        "Route 1|Route 2|Route 66",
        "18-24|young",
        "Vitamin B12|Omega 3|Calcium + D2",
        "Omega 3|Magnesium 5+|Zinc 4",
        "Iron + B12|Calcium + D2",
        "2 cats|3 dogs|4+ birds",
        "18-24|18-30",
        "One of them|Two of them|more than one of them",
        "5+|over 5, as a rule|5",
        "1.2.2020 - 3.4.2020|5.6.2021 - 1.1.2022",
        "Under 30 minutes|30-60 minutes|1-2 hours",
        "Under $50k|$50k - $100k|Over $1M",
        "under $500|$500-$999|$1k-$5k",
        "0-6 months|6-12 months|1-2 years",
    ],
)
def test_what_is_none(texts):
    assert ordered_bands(texts.split("|")) is None
