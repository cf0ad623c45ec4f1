"""What happens to records, ticks and pages when something fails, as the templates say it."""

import itertools

from stacks.config.stage import load
from tests.infra.templates import Stage, told
from treeline.settings import outputs
from treeline.settings.pipeline import IngestSettings


def test_a_poison_record_cannot_block_its_shard(stage: Stage):
    """A batch that keeps failing is cut in half, then set aside after bounded tries; what worked is not repeated."""
    mapping = stage.one("AWS::Lambda::EventSourceMapping", "ingestion/Mapping")

    assert mapping["BisectBatchOnFunctionError"] is True
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert 0 < mapping["MaximumRetryAttempts"] <= 100
    assert "UnreadBatches" in told(mapping["DestinationConfig"]["OnFailure"]["Destination"])


def test_a_batch_set_aside_can_still_be_read_from_the_stream(stage: Stage):
    mapping = stage.one("AWS::Lambda::EventSourceMapping", "ingestion/Mapping")
    stream = stage.one("AWS::Kinesis::Stream", "ingestion/Observations")

    assert mapping["MaximumRecordAgeInSeconds"] + 24 * 3600 <= stream["RetentionPeriodHours"] * 3600


def test_records_that_came_before_the_deployment_are_read(stage: Stage):
    assert stage.one("AWS::Lambda::EventSourceMapping", "ingestion/Mapping")["StartingPosition"] == "TRIM_HORIZON"


def test_every_queue_has_a_dead_letter_queue_or_is_one(stage: Stage):
    queues = stage.resources("AWS::SQS::Queue")
    receivers = [
        told(destination)
        for destination in itertools.chain(
            (q["RedrivePolicy"]["deadLetterTargetArn"] for q in queues.values() if "RedrivePolicy" in q),
            (s.get("RedrivePolicy", {}) for s in stage.resources("AWS::SNS::Subscription").values()),
            (m.get("DestinationConfig", {}) for m in stage.resources("AWS::Lambda::EventSourceMapping").values()),
            (r["Targets"][0].get("DeadLetterConfig", {}) for r in stage.resources("AWS::Events::Rule").values()),
        )
    ]
    without = {
        key
        for key, queue in queues.items()
        if "RedrivePolicy" not in queue and not any(key.split("/")[1] in r for r in receivers)
    }

    assert len(queues) >= 6
    assert without == set()


def test_an_event_that_happens_once_is_kept_whoever_drops_it(stage: Stage):
    """EventBridge, because the function cannot be reached, or Lambda, because it raised in every try."""
    rules = {k: r for k, r in stage.resources("AWS::Events::Rule").items() if k.startswith("learning/")}
    invoked = {k: i for k, i in stage.resources("AWS::Lambda::EventInvokeConfig").items() if k.startswith("learning/")}

    assert len(rules) == len(invoked) >= 4
    for key, rule in rules.items():
        assert "EventsDead" in told(rule["Targets"][0]["DeadLetterConfig"]), key
    for key, invoke in invoked.items():
        assert "EventsDead" in told(invoke["DestinationConfig"]["OnFailure"]), key


def test_dead_letters_wait_for_a_person_as_long_as_sqs_allows(stage: Stage):
    for key, queue in stage.resources("AWS::SQS::Queue").items():
        if "RedrivePolicy" not in queue:
            assert queue["MessageRetentionPeriod"] == 14 * 86_400, key


def test_a_message_stays_hidden_for_six_timeouts_of_its_function(stage: Stage):
    """AWS's rule for mappings: throttled retries of one delivery must fit."""
    for queue, function in (("detection/Ticks", "detect"), ("alerting/Pages", "notify_pagerduty")):
        visibility_s = stage.one("AWS::SQS::Queue", queue)["VisibilityTimeout"]
        assert visibility_s >= 6 * stage.function(function)["Timeout"], queue


def test_one_failed_message_does_not_repeat_its_batch(stage: Stage):
    mappings = stage.resources("AWS::Lambda::EventSourceMapping")

    assert len(mappings) >= 3
    assert all(m["FunctionResponseTypes"] == ["ReportBatchItemFailures"] for m in mappings.values())


def test_the_endpoint_is_protected_by_bounded_concurrency(stage: Stage):
    mapping = stage.one("AWS::Lambda::EventSourceMapping", "detection/TicksConsumerMapping")

    assert mapping["ScalingConfig"]["MaximumConcurrency"] == load("prod").ticks.max_concurrency


def test_dispatch_and_reprocess_run_every_minute_and_a_missed_run_is_not_made_up(stage: Stage):
    rules = {k: r for k, r in stage.resources("AWS::Events::Rule").items() if k.startswith("detection/")}

    assert len(rules) == 2
    for rule in rules.values():
        assert rule["ScheduleExpression"] == "rate(1 minute)"
        assert rule["State"] == "ENABLED"
        assert rule["Targets"][0]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    for key, invoke in stage.resources("AWS::Lambda::EventInvokeConfig").items():
        if not key.startswith("detection/"):
            continue
        assert invoke["MaximumRetryAttempts"] == 0


def test_reprocess_sees_what_it_left_again_in_its_next_run(stage: Stage):
    dead = stage.one("AWS::SQS::Queue", "detection/TicksDead")

    assert stage.function("reprocess")["Timeout"] < dead["VisibilityTimeout"] <= 60


def test_pages_get_the_alert_itself_and_what_sns_cannot_queue_is_kept(stage: Stage):
    subscription = stage.one("AWS::SNS::Subscription", "alerting/Pages.*")

    assert subscription["Protocol"] == "sqs"
    assert subscription["RawMessageDelivery"] is True
    assert "PagesUndelivered" in told(subscription["RedrivePolicy"])


def test_expired_rows_leave_only_where_the_design_says(stage: Stage):
    tables = stage.resources("AWS::DynamoDB::GlobalTable")

    # DetectorState: the log entries; the heads carry no time (tests/contract/test_detector_records.py).
    with_ttl = {key[:-8] for key, table in tables.items() if "TimeToLiveSpecification" in table}
    assert with_ttl == {"state/Observations", "state/Scores", "state/Pages", "state/DetectorState"}
    assert all(
        t["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
        for t in tables.values()
        if "TimeToLiveSpecification" in t
    )


def test_steadily_written_tables_are_paid_by_capacity_that_grows_and_all_others_by_request(stage: Stage):
    tables = load("prod").tables
    steady = {"Observations": tables.observations, "DetectorState": tables.detector_state, "Scores": tables.scores}
    for key, table in stage.resources("AWS::DynamoDB::GlobalTable").items():
        settings = steady.pop(key.split("/")[1][:-8], None)
        if settings is None:
            assert table["BillingMode"] == "PAY_PER_REQUEST", key
            continue
        (replica,) = table["Replicas"]
        writers = [table, *table.get("GlobalSecondaryIndexes", [])]
        readers = [replica, *replica.get("GlobalSecondaryIndexes", [])]
        scalings = [w["WriteProvisionedThroughputSettings"]["WriteCapacityAutoScalingSettings"] for w in writers]
        scalings += [r["ReadProvisionedThroughputSettings"]["ReadCapacityAutoScalingSettings"] for r in readers]
        for scaling in scalings:
            assert (scaling["MinCapacity"], scaling["MaxCapacity"]) == (settings.min_units, settings.max_units), key
            assert scaling["SeedCapacity"] == settings.min_units, "a table that was on demand cannot change without"
            assert scaling["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == settings.utilization_percent
    assert steady == {}


def test_a_deploy_cannot_touch_the_endpoint(stage: Stage):
    kinds = {r["Type"] for part in outputs.PARTS for r in stage.template(part)["Resources"].values()}

    owned = {"AWS::SageMaker::Endpoint", "AWS::SageMaker::EndpointConfig", "AWS::SageMaker::Model"}
    assert kinds & owned == set()
    assert stage.function("detect")["Environment"]["Variables"]["ENDPOINT_NAME"] == "treeline-prod"


def test_every_function_has_a_log_that_ends_and_a_timeout(stage: Stage):
    logs = stage.resources("AWS::Logs::LogGroup")

    assert len(logs) >= len(stage.resources("AWS::Lambda::Function")) >= 14
    assert {log["RetentionInDays"] for log in logs.values()} == {load("prod").logs.retention_days}
    for key, function in stage.resources("AWS::Lambda::Function").items():
        assert key.split("/")[1].split("Function")[0] in told(function["LoggingConfig"]["LogGroup"]), key
        assert function["Timeout"] <= 900, key


def test_stage_settings_reach_the_functions(local_stage: Stage, stage: Stage):
    local, prod = (
        IngestSettings.from_env({name: v if isinstance(v, str) else told(v) for name, v in variables.items()})
        for variables in (s.function("ingest")["Environment"]["Variables"] for s in (local_stage, stage))
    )

    assert (local.stage, local.max_age_s, local.max_future_s) == ("local", None, None)
    assert (prod.stage, prod.max_age_s, prod.max_future_s) == ("prod", 172_800, 300)
    assert prod.metric_names[:2] == ("cpu_percent", "memory_percent")


def test_every_promised_output_is_there(stage: Stage):
    promised = {
        value
        for name, value in vars(outputs).items()
        if name.isupper() and isinstance(value, str) and value not in outputs.PARTS
    } - {outputs.HISTORY_QUEUE_ARN, outputs.HISTORY_JOB_ARN}  # only where a stage fetches history itself
    told_by = {
        key for part in outputs.PARTS for key in stage.template(part)["Outputs"] if not key.startswith("PublishOutput")
    }

    assert told_by == promised


def test_stacks_refer_only_to_those_deployed_before(stage: Stage):
    for place, part in enumerate(outputs.PARTS):
        text = stage.template_path(part).read_text(encoding="utf-8")
        for later in outputs.PARTS[place:]:
            assert f'"{outputs.stack_name("prod", later)}"' not in text, (part, later)
