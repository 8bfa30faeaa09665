"""The text format of metrics: golden lines; what Prometheus itself says of them is asked in the drills."""

import math

import pytest

from hypercube.exposition import COUNTER, GAUGE, HISTOGRAM, Family, Sample, histogram, sample, spelled, text

MODELS = Family("hypercube_models", GAUGE, "Models.")
ERRORS = Family("hypercube_errors_total", COUNTER, "Calls that failed, a \\ and\na line.")
SECONDS = Family("hypercube_seconds", HISTOGRAM, "Calls.")


def test_families_stand_together_each_with_its_kind():
    told = text(
        [
            sample(ERRORS, 2, function="search", sqlstate="42704"),
            sample(MODELS, 3),
            sample(ERRORS, 1, function='a"b\\c\nd', sqlstate="53400"),
        ]
    )
    assert told == (
        "# HELP hypercube_errors_total Calls that failed, a \\\\ and\\na line.\n"
        "# TYPE hypercube_errors_total counter\n"
        'hypercube_errors_total{function="search",sqlstate="42704"} 2\n'
        'hypercube_errors_total{function="a\\"b\\\\c\\nd",sqlstate="53400"} 1\n'
        "# HELP hypercube_models Models.\n"
        "# TYPE hypercube_models gauge\n"
        "hypercube_models 3\n"
    )


def test_buckets_are_cumulative_and_end_with_all():
    found = histogram(SECONDS, (0.5, 1.0), (2, 0, 3), 7.25, function="search")
    assert [(one.name, one.labels.get("le"), one.value) for one in found] == [
        ("hypercube_seconds_bucket", "0.5", 2),
        ("hypercube_seconds_bucket", "1", 2),
        ("hypercube_seconds_bucket", "+Inf", 5),
        ("hypercube_seconds_sum", None, 7.25),
        ("hypercube_seconds_count", None, 5),
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0, "0"), (3.0, "3"), (0.0005, "0.0005"), (1795382409.108754, "1795382409.108754"),
        (2.0**60, repr(2.0**60)), (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (True, "1"),
    ],
)  # fmt: skip
def test_numbers_are_told_exactly(value, told):
    assert spelled(value) == told
    assert math.isnan(value) or float(told) == value


def test_no_sample_is_no_text():
    assert text([]) == ""
    assert text([Sample(MODELS, "hypercube_models", {}, 1.0)]).endswith("hypercube_models 1\n")
