"""Every private name of ministack that emulator/ leans on; a new version that lacks one fails here, not in use."""

import importlib
import inspect

import pytest

NAMES = {
    "ministack.app": ["app", "SERVICE_HANDLERS", "_MAIN_LOOP"],
    "ministack.core.lambda_runtime": ["_PYTHON_WORKER_SCRIPT", "_workers", "reset", "Worker"],
    "ministack.core.responses": ["request_scope", "get_account_id", "get_region"],
    "ministack.services.kinesis": ["_streams", "_shard_iterators", "_expire_records", "_ensure_base64"],
    "ministack.services.sqs": ["_queues", "_queue_url", "_receive_messages_for_esm", "_delete_messages_for_esm"],
    "ministack.services.lambda_svc": [
        "_apply_filter_criteria",
        "_emit_lambda_logs",
        "_emit_lambda_metrics",
        "_execute_function",
        "_execute_function_dispatch",
        "_get_func_record_for_qualifier",
        "_iter_all_esms",
        "_poll_kinesis",
        "_poll_sqs",
        "_reserved_concurrency",
        "_sqs_message_attributes_to_camel_case",
    ],
    "ministack.services.cloudwatch": [
        "_alarms",
        "_calc_stats",
        "_composite_alarms",
        "_dims_key",
        "_evaluate_alarm",
        "_evaluate_all_alarms",
        "_metrics",
        "_put_composite_alarm",
        "_stat_value",
        "record_metric",
    ],
    "ministack.services.cloudwatch_logs": [
        "_append_log_events",
        "_fanout_to_subscription_filters",
        "_log_groups",
        "_make_group_arn",
        "_metric_filters",
    ],
    "ministack.services.dynamodb": [
        "_DDB_BATCH_WRITE_MAX",
        "_DDB_ITEM_MAX_BYTES",
        "_DDB_PAGE_SIZE_BYTES",
        "_INDEX_MEMBERS",
        "_batch_write_item",
        "_emit_stream_event",
        "_extract_key_val",
        "_get_attr_type",
        "_index_def",
        "_index_item",
        "_index_key_lists",
        "_index_key_schemas",
        "_index_members",
        "_index_order_keys",
        "_index_order_value",
        "_index_partition",
        "_item_size_bytes",
        "_key_length_error",
        "_normalize_table_name",
        "_query",
        "_resolve_table_key_values",
        "_set_item",
        "_sort_key_value",
        "_tables",
        "_ttl_reaper",
        "_validate_index_key_values",
        "json_response",
    ],
    "ministack.services.eventbridge": ["_put_events"],
    "ministack.services.stepfunctions": ["_AWS_SDK_SERVICE_MAP", "_execute_task", "_invoke_resource"],
    "ministack.services.cloudformation.provisioners": ["_RESOURCE_HANDLERS"],
}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_the_name_exists(module, name):
    assert hasattr(importlib.import_module(module), name)


def test_the_worker_script_can_be_amended():
    from ministack.core import lambda_runtime

    from emulator.delivery.worker_script import amended

    compile(amended(lambda_runtime._PYTHON_WORKER_SCRIPT), "worker", "exec")


def test_hooks_are_called_with_the_arguments_ours_take():
    from ministack.services import lambda_svc

    assert list(inspect.signature(lambda_svc._emit_lambda_logs).parameters) == [
        "func",
        "request_id",
        "log_text",
        "error",
        "duration_ms",
        "log_source",
    ]
    assert list(inspect.signature(lambda_svc._execute_function_dispatch).parameters) == [
        "func",
        "config",
        "event",
        "request_id",
        "started",
    ]


def test_the_poll_loop_looks_its_pollers_up_by_name():
    """Replacing `_poll_kinesis` and `_poll_sqs` in the module must switch ministack's own delivery off."""
    from ministack.services import lambda_svc

    source = inspect.getsource(lambda_svc._poll_loop)
    assert "_poll_kinesis()" in source
    assert "_poll_sqs()" in source
