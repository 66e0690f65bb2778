"""Reads a scrape with Prometheus's own Python parser, and prints what it found as JSON.

Usage: metrics_prometheus.py FILE. Fails on what Prometheus would not take, or would take for something else:
samples that repeat, stand outside of their family or have no type, and histograms that do not add up.
"""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

SUFFIXES = {
    "counter": {"_total"},
    "gauge": {""},
    "histogram": {"_bucket", "_sum", "_count"},
}


def check_histogram(name, samples):
    """Buckets of each series of labels grow up to +Inf, which is the count."""
    series = {}
    for sample in samples:
        labels = {key: value for key, value in sample.labels.items() if key != "le"}
        of_labels = series.setdefault(tuple(sorted(labels.items())), {"buckets": []})
        if sample.name.endswith("_bucket"):
            of_labels["buckets"].append((float(sample.labels["le"]), sample.value))
        else:
            of_labels[sample.name.removeprefix(name)] = sample.value
    for labels, found in series.items():
        bounds = [bound for bound, _ in found["buckets"]]
        counts = [count for _, count in found["buckets"]]
        assert bounds == sorted(set(bounds)) and bounds[-1] == float("inf"), (name, labels, bounds)
        assert counts == sorted(counts) and counts[-1] == found["_count"], (name, labels, counts)
        assert (found["_sum"] > 0) == (found["_count"] > 0) or found["_sum"] == 0, (name, labels)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        text = file.read()
    families = {}
    for metric in text_string_to_metric_families(text):
        assert metric.type in SUFFIXES, f"{metric.name} has the type {metric.type}"
        # The parser takes the suffix off the names of counters.
        name = metric.name + "_total" if metric.type == "counter" else metric.name
        assert name not in families, f"{name} stands twice"
        seen = set()
        for sample in metric.samples:
            suffix = sample.name.removeprefix(metric.name)
            assert suffix in SUFFIXES[metric.type], f"{sample.name} in {name}"
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in seen, f"{key} stands twice"
            seen.add(key)
        if metric.type == "histogram":
            check_histogram(metric.name, metric.samples)
        families[name] = {
            "type": metric.type,
            "help": metric.documentation,
            "samples": [[it.name, it.labels, it.value] for it in metric.samples],
        }
    json.dump(families, sys.stdout)


main()
