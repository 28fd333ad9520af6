import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pier.client
from pier.client import jsontext

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


@given(VALUES)
def test_reads_and_writes_what_the_standard_library_does(value: object) -> None:
    assert jsontext.decode(json.dumps(value)) == value
    assert json.loads(jsontext.encode(value)) == value


@given(VALUES)
def test_indents_as_the_standard_library_does(value: object) -> None:
    compact = json.dumps(value, ensure_ascii=False)
    assert jsontext.indent(compact) == json.dumps(value, indent=4, ensure_ascii=False)


def test_keeps_scalars_as_they_were_written() -> None:
    assert jsontext.indent('{"a":1.50,"b":"\\u003c\\\\","c":{},"d":[ ]}') == (
        '{\n    "a": 1.50,\n    "b": "\\u003c\\\\",\n    "c": {},\n    "d": []\n}'
    )


def test_escapes_as_go_does() -> None:
    assert jsontext.encode({"a": "<&>\u2028é"}) == '{"a":"\\u003c\\u0026\\u003e\\u2028é"}'
    assert jsontext.encode("<", html=False) == '"<"'
    assert [jsontext.number(x) for x in (1.0, 1.5, 1e21, 1e-7, 0.00001)] == ["1", "1.5", "1e+21", "1e-7", "0.00001"]


@pytest.mark.parametrize("text", ["", "{", "nope", '{"a":1} x', "[1,]", '"\ud800'])
def test_refuses_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):
        jsontext.decode(text)


def test_what_is_cut_off_is_an_error_of_values_where_nobody_imported_json() -> None:
    code = """
from pier.client import jsontext
for text in ('{', '[', '"', '{"a": "b', '[1, {"a"', '{"a" 1}', "", "nul"):
    try:
        jsontext.decode(text)
    except ValueError:
        continue
    raise SystemExit(f"{text!r} was read")
import sys
sys.exit("json" in sys.modules)
"""
    source = Path(pier.client.__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(source)!r}); {code}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
