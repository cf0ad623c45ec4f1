"""The contract of PagerDuty's Events API v2, checked as its ingestion does. Pure.

Source: developer.pagerduty.com, "Send an alert event": field table and limits.
"""

import json
from typing import Any

MAX_EVENT_BYTES = 512 * 1024
MAX_SUMMARY = 1024
MAX_DEDUP_KEY = 255
ROUTING_KEY_LENGTH = 32
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")


def event_errors(body: bytes) -> tuple[dict[str, Any], list[str]]:
    """The event in `body` and what is wrong with it; no errors means it is accepted."""
    if len(body) > MAX_EVENT_BYTES:
        return {}, [f"The event is {len(body)} bytes; the limit is {MAX_EVENT_BYTES}"]
    try:
        event = json.loads(body)
    except ValueError:
        return {}, ["The request body is not valid JSON"]
    if not isinstance(event, dict):
        return {}, ["The request body must be a JSON object"]
    errors = []
    key = event.get("routing_key")
    if not isinstance(key, str) or len(key) != ROUTING_KEY_LENGTH:
        errors.append(f"'routing_key' must be a string of {ROUTING_KEY_LENGTH} characters")
    action = event.get("event_action")
    if action not in ACTIONS:
        errors.append(f"'event_action' must be one of {', '.join(ACTIONS)}")
    dedup_key = event.get("dedup_key")
    if dedup_key is not None and (not isinstance(dedup_key, str) or len(dedup_key) > MAX_DEDUP_KEY):
        errors.append(f"'dedup_key' must be a string of at most {MAX_DEDUP_KEY} characters")
    if action in ("acknowledge", "resolve") and not dedup_key:
        errors.append(f"'dedup_key' is required to {action}")
    if action == "trigger":
        errors += _payload_errors(event.get("payload"))
    for name in ("links", "images"):
        if name in event and not isinstance(event[name], list):
            errors.append(f"'{name}' must be a list")
    return event, errors


def change_errors(body: bytes) -> tuple[dict[str, Any], list[str]]:
    """The change event in `body` and what is wrong with it. Source: "Send a change event", field table."""
    event, errors = event_errors(body)
    kept = [e for e in errors if "'event_action'" not in e]
    payload = event.get("payload")
    summary = payload.get("summary") if isinstance(payload, dict) else None
    if event and (not isinstance(summary, str) or not summary or len(summary) > MAX_SUMMARY):
        kept.append(f"'payload.summary' must be a text of at most {MAX_SUMMARY} characters")
    if "event_action" in event:
        kept.append("'event_action' does not belong in a change event")
    return event, kept


def _payload_errors(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is required to trigger"]
    errors = []
    summary = payload.get("summary")
    if not isinstance(summary, str) or not summary:
        errors.append("'payload.summary' is missing or blank")
    elif len(summary) > MAX_SUMMARY:
        errors.append(f"'payload.summary' has more than {MAX_SUMMARY} characters")
    if not isinstance(payload.get("source"), str) or not payload["source"]:
        errors.append("'payload.source' is missing or blank")
    if payload.get("severity") not in SEVERITIES:
        errors.append(f"'payload.severity' must be one of {', '.join(SEVERITIES)}")
    if "custom_details" in payload and not isinstance(payload["custom_details"], dict):
        errors.append("'payload.custom_details' must be an object")
    if "timestamp" in payload and not isinstance(payload["timestamp"], str):
        errors.append("'payload.timestamp' must be a string")
    return errors
