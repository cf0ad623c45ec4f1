"""What SageMaker tells the bus, when the bus is in trouble."""

import threading

from emulator.sagemaker import events


def test_an_event_that_cannot_be_delivered_does_not_silence_those_after_it(monkeypatch, caplog):
    """A bus that died on one event lost the approval that came after it, and no model was ever promoted."""
    arrived, done = [], threading.Event()

    def put(request, allow_aws_source):
        (entry,) = request["Entries"]
        if entry["Resources"] == ["first"]:
            raise RuntimeError("dictionary changed size during iteration")
        arrived.append(entry["Resources"])
        done.set()

    monkeypatch.setattr(events.eventbridge, "_put_events", put)
    bus = events.EventBus()
    bus.announce("State Change", "first", {})
    bus.announce("State Change", "second", {})
    assert done.wait(5)
    assert arrived == [["second"]]
    assert "first" in caplog.text
