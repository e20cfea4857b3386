"""Reads what is counted as Prometheus does: `prometheus.py FORMAT FILE`.

Says how many families and samples there are. Ends badly where the text is none of that format, or
has a sample twice.
"""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

form, path = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    text = file.read()
families = list({"openmetrics": openmetrics, "prometheus": prometheus}[form](text))
names = [family.name for family in families]
assert len(names) == len(set(names)), names
samples = [
    (sample.name, tuple(sorted(sample.labels.items())))
    for family in families
    for sample in family.samples
]
assert len(samples) == len(set(samples)), "a sample is there twice"
for family in families:
    assert family.documentation, f"{family.name} is not explained"
    assert family.type != "unknown", f"{family.name} has no type"
print(len(families), len(samples))
