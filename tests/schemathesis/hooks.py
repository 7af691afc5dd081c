"""Values for formats that are our own: what the description cannot say as a pattern."""

import json

import schemathesis
from hypothesis import strategies as st

scalars = st.none() | st.booleans() | st.integers(-1000, 1000) | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5)

schemathesis.openapi.format("json-object", st.dictionaries(st.sampled_from("abc"), values, max_size=3).map(json.dumps))
