"""What the description cannot say as a pattern: values of our own formats, and rules between fields; and that a POST …/destroy
ends a thing. What requests are aimed at is in living.py."""

import json
from datetime import datetime

import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import EnsureResourceAvailability

import living

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))
# Nobody has such a name (RFC 6761): webhooks that are made here lead nowhere.
hosts = st.from_regex(r"[a-z]{1,8}(?:\.[a-z]{2,5})?\.invalid", fullmatch=True)
paths = st.from_regex(r"(?:/[a-z0-9._~@-]{0,5}){0,3}(?:\?[a-z0-9=&]{0,8})?", fullmatch=True)

schemathesis.openapi.format("json-object", st.dictionaries(texts, values, max_size=3).map(json.dumps))
schemathesis.openapi.format("web-url", st.tuples(st.sampled_from(["http://", "https://"]), hosts, paths).map("".join))


def time(value):
    """To the millisecond, as the server keeps it; None for what is no time."""
    try:
        moment = datetime.fromisoformat(value.upper())
        return moment.timestamp() * 1000 // 1
    except (AttributeError, OverflowError, ValueError):
        return None


def contradicts_itself(body):
    pins = body.get("admin_pin"), body.get("room_pin")
    start, end = time(body.get("scheduled_start_at")), time(body.get("scheduled_end_at"))
    return (isinstance(pins[0], str) and pins[0] == pins[1]) or (None not in (start, end) and end <= start)


@schemathesis.hook
def filter_body(context, body):
    """Two PINs that are equal and an end before the start are refused: such bodies are not sent as valid ones."""
    return not (isinstance(body, dict) and contradicts_itself(body))


@schemathesis.hook
def before_call(context, case, kwargs):
    living.aim(case)


@schemathesis.hook
def after_call(context, case, response):
    living.note(case, response)


@schemathesis.check
def destroyed_is_gone(ctx, response, case):
    is_the_end = case.operation.path.endswith("/destroy")
    assert is_the_end or response.status_code >= 400 or not living.is_gone(case), "It was destroyed, and is still there"


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """That what was made is there is checked but for what a POST …/destroy ended: only DELETE is known to do so."""
    return not (isinstance(failure, EnsureResourceAvailability) and living.is_gone(case))
