import json
from dataclasses import asdict

import pytest

from training.history.cloudwatch.discovery import Instance, discover
from training.history.cloudwatch.series import EC2_SOURCES, read_sources, servers_from_json
from treeline.core.errors import UsageError


def listing(**by_name):
    """ListMetrics: metric name -> list of dimension dicts."""
    asked = []

    def list_metrics(namespace, name):
        asked.append((namespace, name))
        return [tuple(sorted(d.items())) for d in by_name.get(name, [])]

    list_metrics.asked = asked
    return list_metrics


def test_ec2_metrics_need_no_listing_and_the_agents_are_asked_under_the_dimensions_it_wrote():
    listed = {"InstanceId": "i-1", "ImageId": "ami-9", "InstanceType": "m5.large"}
    lookup = listing(mem_used_percent=[listed, {"host": "elsewhere"}])
    (server,) = discover([Instance(instance_id="i-1")], EC2_SOURCES, lookup)
    assert lookup.asked == [("CWAgent", "mem_used_percent")]
    by_name = {query.part.name: dict(query.dimensions) for query in server.queries}
    assert by_name["mem_used_percent"] == listed
    assert by_name["CPUUtilization"] == {"InstanceId": "i-1"}
    assert set(by_name) == {
        "CPUUtilization", "mem_used_percent", "NetworkIn", "NetworkOut", "EBSReadOps", "EBSWriteOps",
    }  # fmt: skip
    assert server.missing == ()


def test_a_server_without_an_agent_is_named_with_what_it_lacks_and_the_rest_is_still_asked():
    (server,) = discover([Instance(instance_id="i-1")], EC2_SOURCES, listing())
    assert server.missing == ("memory_percent",)
    assert {query.column for query in server.queries} == {0, 2, 3}


def test_of_several_series_of_an_instance_the_plainest_is_taken():
    lookup = listing(mem_used_percent=[{"InstanceId": "i-1", "AutoScalingGroupName": "old"}, {"InstanceId": "i-1"}])
    (server,) = discover([Instance(instance_id="i-1")], EC2_SOURCES, lookup)
    (memory,) = (query for query in server.queries if query.column == 1)
    assert memory.dimensions == (("InstanceId", "i-1"),)


def test_basic_monitoring_sets_the_step():
    instances = [Instance(instance_id="i-1", detailed_monitoring=False), Instance(instance_id="i-2")]
    assert [server.step_s for server in discover(instances, EC2_SOURCES, listing())] == [300, 60]


def test_servers_are_named_by_a_tag_where_it_is_set_and_only_once():
    instances = [Instance(instance_id="i-1", tags={"Name": "web"}), Instance(instance_id="i-2")]
    assert [s.server_id for s in discover(instances, EC2_SOURCES, listing(), name_tag="Name")] == ["web", "i-2"]
    twice = [Instance(instance_id=f"i-{n}", tags={"Name": "web"}) for n in (1, 2)]
    with pytest.raises(UsageError, match="two instances are called 'web'"):
        discover(twice, EC2_SOURCES, listing(), name_tag="Name")


def test_no_instance_is_an_error_in_one_line():
    with pytest.raises(UsageError, match="check the region and the tags"):
        discover([], EC2_SOURCES, listing())


def test_sources_can_come_from_a_file_and_fixed_dimensions_pick_the_series(tmp_path):
    part = {"namespace": "CWAgent", "name": "cpu_usage_active", "dimensions": [["cpu", "cpu-total"]]}
    path = tmp_path / "sources.json"
    path.write_text(json.dumps([{"metric": "cpu_percent", "parts": [part]}]))
    lookup = listing(cpu_usage_active=[{"InstanceId": "i-1", "cpu": "cpu0"}, {"InstanceId": "i-1", "cpu": "cpu-total"}])
    (server,) = discover([Instance(instance_id="i-1")], read_sources(path), lookup)
    assert [dict(query.dimensions)["cpu"] for query in server.queries] == ["cpu-total"]
    assert servers_from_json(json.loads(json.dumps([asdict(server)]))) == (server,)


@pytest.mark.parametrize(
    "content", ["", "[]", '[{"metric": "cpu"}]', '[{"metric": "cpu", "parts": [{"stat": "Sum"}]}]']
)
def test_a_wrong_sources_file_is_refused(tmp_path, content):
    path = tmp_path / "sources.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="is not a list of sources"):
        read_sources(path)
