"""How a study of choices among described phones is written."""

STUDY = {
    "name": "phones",
    "responses": {
        "path": "answers.csv",
        "participant": "person",
        "task": "set",
        "response": "choice",
    },
    "alternatives": {
        "path": "options.csv",
        "level": "option",
        "attributes": {"price": "numeric", "brand": "categorical"},
    },
}
