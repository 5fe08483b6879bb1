"""What a server's refusal says, in whatever form it comes, and what is asked for instead."""

import json

import pytest

from crowdllm_jax.backbone.fault import Fault, fault, inside
from crowdllm_jax.backbone.terms import TOP, Terms, adapted


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "so  it\nis"}},
        {"error": "so it is"},
        {"message": "so it is", "object": "error"},
        {"detail": "so it is"},
        {"error": {"detail": {"message": "so it is"}}},
        "so it is",
    ],
)
def test_the_message_wherever_it_stands(body):
    text = body if isinstance(body, str) else json.dumps(body)
    assert str(fault(text, 400, None)) == "HTTP 400: so it is"


def test_validation_errors_are_shown_whole():
    body = {"detail": [{"loc": ["body", "top_logprobs"], "msg": "at most 5"}]}
    assert "top_logprobs" in fault(json.dumps(body), 422, None).message
    assert "at most 5" in fault(json.dumps(body), 422, None).message


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ({"error": {"message": "m", "code": 502}}, 502, "error 502 inside an HTTP 200 answer: m"),
        ({"error": {"message": "m", "code": "429"}, "choices": None}, 429, "error 429 inside"),
        ({"error": {"message": "m", "type": "invalid_request_error"}}, 400, "error 400 inside"),
        ({"error": {"message": "m", "code": "invalid_api_key"}}, None, "error inside"),
        ({"error": "m"}, None, "error inside an HTTP 200 answer: m"),
        ({"choices": [{"error": {"message": "m", "code": 503}}]}, 503, "error 503 inside"),
        ({"error": {"message": "m", "code": 429, "metadata": {"raw": "r"}}}, 429, r"m (r)"),
        ({"choices": []}, None, 'it holds no choices: {"choices": []}'),
        ({"choices": None, "message": "m"}, None, "answer: m"),
    ],
)
def test_errors_inside_an_answer(answer, status, says):
    found = inside(answer, None)
    assert found.status == status
    assert says in str(found)


def test_an_answer_without_an_error_has_none():
    assert inside({"choices": [{"message": {}}], "error": None}, None) is None


@pytest.mark.parametrize(
    ("said", "broke"),
    [
        (Fault("", 402), True),
        (Fault("x", 429, "insufficient_quota"), True),
        (Fault("You exceeded your current quota, check your plan and billing details", 429), True),
        (Fault("Your credit balance is too low", 400), True),
        (Fault("Insufficient Balance", 400), True),
        (Fault("Quota exceeded, check your billing. Please retry in 34 s", 429), False),
        (Fault("Quota exceeded, check your billing", 429, wait=34.0), False),
        (Fault("Rate limit reached", 429), False),
        (Fault("billing service down", 503), False),
    ],
)
def test_no_money_is_not_a_busy_server(said, broke):
    assert said.broke == broke
    assert said.fatal == broke


LISTED = {"top_logprobs": TOP, "max_tokens": 1, "temperature": 1.0}


def tops(message, status=400):
    """The numbers of alternatives that are asked for, one after the other, if each is refused."""
    terms, found = Terms(), []
    while (terms := adapted(terms, Fault(message, status), terms.put(LISTED))) is not None:
        found.append(terms.top)
    return found


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("top_logprobs must be between 0 and 5", [5, 2]),
        ("Requested sample logprobs of 20, which is greater than max allowed: 8", [8, 5, 2]),
        ("[{'loc': ['top_logprobs'], 'msg': 'less than or equal to 8'}]", [8, 5, 2]),
        ("top_logprobs must be less than 5", [5, 4, 2]),
        ("top_logprobs: at most 5 with qwen2.5-7b (model 3.1)", [5, 2]),
        ("top_logprobs is too large", [10, 5, 2]),
        ("Bad request", [10, 5, 2]),
        ("logprobs are not supported by this model", []),
        ("Unsupported parameter: logprobs", []),
        ("System role not supported", []),
    ],
)
def test_the_limit_that_a_refusal_names(message, wanted):
    assert tops(message) == wanted
    assert tops(message, 503) == []  # a busy server refuses nothing


def test_fields_by_the_name_that_the_server_wants():
    message = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    terms = adapted(Terms(), Fault(message, 400), LISTED)
    assert terms.put(LISTED) == {"top_logprobs": 20, "max_completion_tokens": 1, "temperature": 1.0}
    assert str(terms) == "max_completion_tokens in place of max_tokens"
    assert adapted(terms, Fault(message, 400), terms.put(LISTED)) != terms
    # The default may go unsaid; another temperature is the user's to give up.
    message = "'temperature' does not support 1.0 with this model"
    assert adapted(Terms(), Fault(message, 400), LISTED).put(LISTED).keys() == LISTED.keys() - {
        "temperature"
    }
    assert adapted(Terms(), Fault(message, 400), {"max_tokens": 16, "temperature": 0.5}) is None
