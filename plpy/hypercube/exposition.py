"""Samples of metrics: what they are called, and how Prometheus reads them as text.

A family has a name, a kind and a sentence; a sample labels and a value.  The order is that of the families,
and in each that of its samples.
"""

import math
from typing import NamedTuple

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"


class Family(NamedTuple):
    """What samples of one name have in common; `name` is without the endings of a histogram."""

    name: str
    kind: str
    help: str


class Sample(NamedTuple):
    """A number: of `family`, under `name`, which has the ending of a histogram; `labels` is a dict."""

    family: Family
    name: str
    labels: dict
    value: float


def sample(family, value, **labels):
    """Return the Sample of a counter or a gauge; None stays out of the metrics."""
    return Sample(family, family.name, labels, float(value))


def histogram(family, bounds, counts, total, **labels):
    """Return the samples of a histogram: cumulative buckets, their sum and their count.

    Parameters
    ----------
    bounds : sequence of float
        Upper bounds of all buckets but the last, which has none.
    counts : sequence of int
        How many fell into each, one more than there are bounds.
    total : float
        Their sum.
    """
    found, seen = [], 0
    for bound, count in zip((*bounds, math.inf), counts, strict=True):
        seen += count
        found.append(Sample(family, family.name + "_bucket", {**labels, "le": spelled(bound)}, float(seen)))
    found.append(Sample(family, family.name + "_sum", labels, float(total)))
    found.append(Sample(family, family.name + "_count", labels, float(seen)))
    return found


def spelled(value):
    """Return a number as Prometheus reads it."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def text(samples):
    """Return samples in the text format, version 0.0.4; those of one family stand together."""
    families = {}
    for one in samples:
        families.setdefault(one.family, []).append(one)
    lines = []
    for family, those in families.items():
        lines.append(f"# HELP {family.name} {_escaped(family.help)}")
        lines.append(f"# TYPE {family.name} {family.kind}")
        for one in those:
            labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in one.labels.items())
            lines.append(
                f"{one.name}{{{labels}}} {spelled(one.value)}"
                if labels
                else f"{one.name} {spelled(one.value)}"
            )
    return "".join(line + "\n" for line in lines)


def _escaped(told):
    return told.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(told):
    return _escaped(str(told)).replace('"', '\\"')
