import pytest

from emulator.delivery.sqs_batches import QueueRules, failed_messages

REPORTING = QueueRules(report_item_failures=True)


def test_only_the_reported_messages_stay():
    body = {"batchItemFailures": [{"itemIdentifier": "b"}]}
    assert failed_messages(REPORTING, ["a", "b"], body, None) == {"b"}


@pytest.mark.parametrize("identifier", ["", None, "unknown"])
def test_an_identifier_that_is_no_message_keeps_all(identifier):
    body = {"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": identifier}]}
    assert failed_messages(REPORTING, ["a", "b"], body, None) == {"a", "b"}


def test_a_function_error_keeps_all_and_an_empty_report_none():
    assert failed_messages(REPORTING, ["a", "b"], None, "Error") == {"a", "b"}
    assert failed_messages(REPORTING, ["a", "b"], {"batchItemFailures": []}, None) == frozenset()
    assert failed_messages(REPORTING, ["a", "b"], None, None) == frozenset()


def test_a_batch_over_ten_needs_a_window():
    assert QueueRules.of({"BatchSize": 100}).batch_size == 10
    assert QueueRules.of({"BatchSize": "100", "MaximumBatchingWindowInSeconds": "1"}).batch_size == 100


def test_the_mappings_own_concurrency_counts():
    assert QueueRules.of({"ScalingConfig": {"MaximumConcurrency": "10"}}).max_concurrency == 10
