"""What the page's words mean, for who points at them."""

TERMS = {
    "knowing nothing": "a guess that gives every question the same answers: those of all training "
    "questions together.",
    "another sample": "other people from where these come, as many as one likes: how close their "
    "answers would come to those of the people here. No crowd can be expected to come closer.",
    "interval": "if people were drawn again and again, such an interval would hold the true number "
    "95 times in 100. It grows narrower with more people, not with more agents.",
    "held out": "kept back when the crowd was made, so that it could not copy them.",
    "agents": "simulated people. Each has a profile and gives answers of its own.",
    "distance": "the share of people who would have to change their answer for people and crowd to "
    "be alike. 0%: both give the same shares.",
    "chance": "the distance to expect although the crowd is right, because only so many people "
    "answered. A distance no larger than this says nothing against the crowd.",
    "noise ceiling": "what another sample of people would score. A difference below it is luck.",
    "floor": "what a crowd without knowledge scores: pooled answers (every question is answered "
    "alike) or uniform (all answers equally often).",
}
"""The page's own words."""

MEASURES = {
    "skill": "the share of the way, in RPS, from a crowd that answers every question with the "
    "pooled training answers (0) to the noise ceiling (1).",
    "mae": "error of the crowd's mean answer per question, in the scale's units (of several "
    "scales, as a share of the range). Lower is better.",
    "rmse": "error of the crowd's mean answer per question, in the scale's units (of several "
    "scales, as a share of the range); large errors count more. Lower is better.",
    "cs": "cosine similarity of the shares of answers per question. Higher is better, but a crowd "
    "that always gives the most frequent answer scores high too.",
    "avg_wd": "Wasserstein distance between the distributions of answers, per question (without an "
    "order the share who would have to answer otherwise). Lower is better; it favours crowds that "
    "vary too little, because few people answer each question.",
    "nwd": "Wasserstein distance per question, as a share of the scale's range. Lower is better.",
    "js": "Jensen-Shannon distance (base 2) of the shares of answers per question. Lower is "
    "better.",
    "ks": "1 minus the largest gap of the cumulative shares (Kolmogorov-Smirnov). Higher is "
    "better.",
    "rps": "ranked probability score of each held-out answer (without an order half the Brier "
    "score). Lower is better; no crowd can improve it by varying too little or too much.",
    "accuracy": "share of people who give the crowd's most frequent answer.",
    "ece": "how far shares in the crowd lie from how often people really answer so.",
    "pooled_wd": "Wasserstein distance between the distributions of answers to all questions "
    "together. Lower is better.",
    "variance_ratio": "variance of all crowd answers over that of the people, on the scales on "
    "which these differ at all. Best at 1.",
    "personal_sd": "how much people differ from each other in their average answer. Best at the "
    "people's value.",
    "personal_wd": "distance between people's and agents' average answers. Lower is better.",
    "icc": "intra-class correlation: the share of the variance that is between people. Best at "
    "the people's value.",
    "correlation_error": "mean absolute difference of the correlations between two questions, "
    "crowd and people.",
    "gap_error": "how far the groups' mean deviations in the crowd are off (share of the scale). "
    "Its floor has no differences at all.",
    "regression_agreement": "share of regression coefficients on the profile that lie in the "
    "people's 95% interval. Its floor has no differences at all.",
}
"""The measures of a crowd, by their names in the scores."""

ANSWERS = {
    "rps": "ranked probability score of the chances given to each answer (without an order half "
    "the Brier score). Lower is better; nothing but the truth is lowest.",
    "log_loss": "of the chances given to each answer. Lower is better; nothing but the truth is "
    "lowest.",
    "accuracy": "share of answers that were the likeliest.",
    "rmse": "error of the expected answer, in the scale's units (of several scales, as a share of "
    "the range).",
    "r": "correlation of expected and given answers, over all answers.",
    "r_tasks": "correlation of expected and given answers within each question of at least 10 "
    "held-out answers: it sees differences between people alone.",
    "coverage": "how often the answer is among the fewest levels that hold 90%. Few levels hold "
    "more than 90%; what counts is that this and what is claimed are alike.",
    "claimed": "how often the prediction says that the answer is among the fewest levels that hold "
    "90%.",
    "gain": "the share of the RPS of the question and person bias that a prediction saves.",
}
"""The measures of predictions of single answers."""
