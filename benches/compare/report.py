"""What was measured, as a table in Markdown, as CSV, as JSON and as plots."""

import csv
import json
import statistics

from plot import bars, number_text

# Name of a measure, its heading, and how it is computed from a sample. None: the load does not tell.
MEASURES = {
    "cpu": lambda sample: _cost(sample),
    "rate": lambda sample: _rate(sample),
    "p50": lambda sample: sample["latency_us"].get("p50"),
    "p99": lambda sample: sample["latency_us"].get("p99"),
    "p999": lambda sample: sample["latency_us"].get("p999"),
}

HEADINGS = {
    "request": ["server, CPU-µs a request", "requests/s"],
    "gigabyte": ["server, CPU-ms a GB", "MB/s"],
}


def write(folder, results):
    """Writes everything into a folder; the Markdown text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(results, indent=1))
    rows = summarize(results)
    with open(folder / "results.csv", "w", newline="") as out:
        table = csv.writer(out)
        measures = [f"{name}_{part}" for name in MEASURES for part in ("median", "min", "max")]
        table.writerow(["load", "unit", "server", "samples", *measures, "work", "error"])
        for row in rows:
            values = [value for name in MEASURES for value in (row[name] or ("", "", ""))]
            table.writerow(
                [row["load"], row["unit"], row["peer"], row["samples"], *values, row["work"], row["error"]])
    plots = _plots(results, rows)
    for name, text in plots.items():
        (folder / f"{name}.svg").write_text(text)
    text = _markdown(results, rows, plots)
    (folder / "report.md").write_text(text)
    return text


def different_work(results):
    """Loads of which servers did not do the same work, a line for each: no figure of theirs can be compared."""
    lines, seen = [], {}
    for sample in results["samples"]:
        if sample.get("work"):
            seen.setdefault((sample["load"], sample["turn"]), {}).setdefault(sample["work"], []).append(sample["peer"])
    for (load, turn), works in seen.items():
        if len(works) > 1:
            each = "; ".join(f"{work}: {', '.join(peers)}" for work, peers in works.items())
            lines.append(f"{load}, round {turn}: {each}")
    return lines


def summarize(results):
    """A row for each load and server, in the order in which they came."""
    groups = {}
    for sample in results["samples"]:
        groups.setdefault((sample["load"], sample["peer"]), []).append(sample)
    order = [peer["name"] for peer in results["peers"]]
    loads = list(dict.fromkeys(load for load, _ in groups))
    rows = []
    for load, peer in sorted(groups, key=lambda key: (loads.index(key[0]), order.index(key[1]))):
        samples = groups[load, peer]
        good = [sample for sample in samples if "error" not in sample]
        row = {"load": load, "peer": peer, "unit": (good or samples)[0]["unit"], "samples": len(good)}
        row["error"] = next((sample["error"] for sample in samples if "error" in sample), "")
        row["work"] = " ".join(dict.fromkeys(sample["work"] for sample in good if sample["work"]))
        for name, measure in MEASURES.items():
            row[name] = _spread([measure(sample) for sample in good])
        rows.append(row)
    return rows


def _spread(values):
    """Median, least and most; none if nothing was measured."""
    values = [value for value in values if value is not None]
    return (statistics.median(values), min(values), max(values)) if values else None


def _cost(sample):
    if sample["cpu_seconds"] is None:
        return None
    if sample["unit"] == "request":
        return sample["cpu_seconds"] * 1e6 / sample["operations"]
    return sample["cpu_seconds"] * 1e3 / (sample["bytes"] / 1e9)


def _rate(sample):
    amount = sample["operations"] if sample["unit"] == "request" else sample["bytes"] / 1e6
    return amount / sample["seconds"]


def _markdown(results, rows, plots):
    out = ["# Servers compared", ""]
    out += [f"- {line}" for line in results["setting"]]
    out += [f"- left out: {line}" for line in results["left_out"]]
    out += [f"- DIFFERENT WORK: {line}" for line in different_work(results)]
    out += ["", "## Servers", ""]
    out += ["| server | version | memory, peak | durable? | documented |", "|---|---|---|---|---|"]
    for peer in results["peers"]:
        memory = _spread([turn["memory_peak_bytes"] / (1 << 20) for turn in results["turns"]
                          if turn["peer"] == peer["name"]])
        seen = peer.get("durability") or {}
        counts = [f"{seen[name]:.2f} {what} a PUT" for name, what in (
            ("syncs_per_put", "syncs"), ("flushes_per_put", "flushes of the drive")) if seen.get(name) is not None]
        verdict = "; ".join([seen.get("verdict", "not looked at"), *counts])
        out.append(
            f"| {peer['title']} | {peer['version']} | {_with_spread(memory)} MiB | {verdict} | {peer['documented']} |")
    out += ["", "Lowest and highest of the rounds are in brackets; latencies are in µs."]
    titles = {peer["name"]: peer["title"] for peer in results["peers"]}
    for load in dict.fromkeys(row["load"] for row in rows):
        chosen = [row for row in rows if row["load"] == load]
        unit = next((row["unit"] for row in chosen if row["samples"]), "request")
        out += ["", f"### {load}", ""]
        out += [f"| server | {' | '.join(HEADINGS[unit])} | p50 | p99 | p99.9 |", "|---|" + "---:|" * 5]
        for row in chosen:
            if row["samples"]:
                cells = [_with_spread(row[name]) for name in MEASURES]
                note = f" ({row['samples']} rounds; {_cell(row['error'])})" if row["error"] else ""
                out.append(f"| {titles[row['peer']]}{note} | {' | '.join(cells)} |")
            else:
                out.append(f"| {titles[row['peer']]} | failed: {_cell(row['error'])} | | | | |")
    out += ["", "## Plots", ""]
    out += [f"![{name}]({name}.svg)" for name in plots]
    return "\n".join([*out, ""])


def _with_spread(spread):
    if spread is None:
        return "–"
    median, least, most = map(number_text, spread)
    return median if least == most else f"{median} ({least}–{most})"


def _cell(text):
    """In one cell of a table, not too long."""
    text = " ".join(str(text).replace("|", "/").split())
    return text if len(text) <= 160 else text[:160] + "…"


def _plots(results, rows):
    titles = {peer["name"]: peer["title"] for peer in results["peers"]}
    note = "median of the rounds; whiskers: lowest and highest"

    def panels(name, unit):
        found = {}
        for row in rows:
            if row[name] and (unit is None or row["unit"] == unit):
                bar = (titles[row["peer"]], *row[name], row["peer"] == "ringcask")
                found.setdefault(row["load"], []).append(bar)
        return list(found.items())

    wanted = {
        "cpu-request": ("CPU time of the server, µs a request (less is better)", panels("cpu", "request")),
        "cpu-gigabyte": ("CPU time of the server, ms a gigabyte (less is better)", panels("cpu", "gigabyte")),
        "rate-request": ("Requests a second (more is better)", panels("rate", "request")),
        "rate-gigabyte": ("Megabytes a second (more is better)", panels("rate", "gigabyte")),
        "latency-p99": ("Latency, 99th percentile, µs (less is better)", panels("p99", None)),
    }
    memory = []
    for peer in results["peers"]:
        spread = _spread([turn["memory_peak_bytes"] / (1 << 20) for turn in results["turns"]
                          if turn["peer"] == peer["name"]])
        if spread:
            memory.append((peer["title"], *spread, peer["name"] == "ringcask"))
    plots = {name: bars(title, note, chosen) for name, (title, chosen) in wanted.items() if chosen}
    if memory:
        plots["memory"] = bars("Memory of the server at its peak, MiB", note, [("all loads of a round", memory)])
    return plots
