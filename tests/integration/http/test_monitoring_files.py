"""The files that are shipped for Prometheus and Grafana: well formed, and made of metrics that there are."""

import json
import re

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from tests.architecture.reading import ROOT
from tests.integration.http.serving import serving, talk

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "netra.json"
LATER = {"cause", "model", "kind", "code"}  # labels of which a process has values once something has happened


def rules():
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels():
    return json.loads(DASHBOARD.read_text("utf-8"))["panels"]


def expressions():
    """(where, PromQL), Grafana's variables filled in."""
    found = [(rule["alert"], rule["expr"]) for rule in rules()]
    found += [(panel["title"], target["expr"]) for panel in panels() for target in panel["targets"]]
    return [
        (where, text.replace("$__rate_interval", "1m").replace("$__range", "6h").replace("$job", ".*"))
        for where, text in found
    ]


def selectors(text):
    """(metric, names of its labels) of what an expression selects."""
    names = re.findall(r"\b((?:netra|process)_[a-z0-9_]+)(?:\{([^}]*)\})?", text)
    assert names, text
    return [(name, set(re.findall(r"(\w+)\s*=", labels)) - {"job"}) for name, labels in names]


@pytest.mark.parametrize(("where", "text"), expressions())
def test_each_expression_is_promql(where, text):
    assert promql_parser.parse(text) is not None


def test_each_metric_that_is_named_is_exported_with_the_labels_that_are_named(tmp_path):
    told = []

    async def scenario(client):
        await client.login()
        await client.ended(await client.run(await client.thread()))
        told.append((await client.get("/metrics", bearer=False)).text)

    with serving(tmp_path) as served:
        talk(served, scenario)
    exported = {}
    for family in text_string_to_metric_families(told[0]):
        exported.setdefault(family.name, set())
        for sample in family.samples:
            exported.setdefault(sample.name, set()).update(sample.labels)
        if family.type == "counter":
            exported.setdefault(f"{family.name}_total", set())
    for where, expression in expressions():
        for name, labels in selectors(expression):
            assert name in exported, f"{where}: {name}"
            assert labels <= exported[name] | LATER, f"{where}: {name} has {exported[name]}"


def test_what_is_shared_by_processes_is_never_summed():
    for where, text in expressions():
        shared = re.findall(r"(\w+)(?: by \([^)]*\))? ?\((netra_shared_\w+|netra_runs_queued)", text)
        named = re.findall(r"netra_shared_\w+|netra_runs_queued", text)
        assert len(shared) == len(named), f"{where}: {text}"
        assert {how for how, _ in shared} <= {"max", "min"}, f"{where}: {text}"


def test_alerts_have_what_whoever_is_woken_needs():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    page = (ROOT / "docs" / "how-to" / "watch-the-golden-path.md").read_text("utf-8")
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["alert"] in page, f"{rule['alert']} is not explained"


def test_the_dashboards_panels_stand_beside_one_another():
    places = set()
    for panel in panels():
        grid = panel["gridPos"]
        cells = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & places, panel["title"]
        places |= cells
    assert len({panel["id"] for panel in panels()}) == len(panels())
