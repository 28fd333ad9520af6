"""Every expectation here was printed by docker 28.5 for a container of this shape."""

from typing import Any

import pytest

from pier.cli.goformat.evaluate import ExecuteError, execute
from pier.cli.goformat.parse import ParseError, parse
from pier.cli.ps import ContainerRow

DOCUMENT: dict[str, Any] = {
    "Id": "4dc1",
    "Name": "/fc1",
    "State": {"Status": "running", "Running": True, "Pid": 31568},
    "Config": {"Env": None, "Cmd": ["sleep", "1000"], "Labels": {"a": "b"}, "Image": "fbox:1"},
    "HostConfig": {
        "Binds": None, "Memory": 0, "NanoCpus": 0, "LogConfig": {"Type": "json-file", "Config": {}}, "MemorySwappiness": None,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
    },
    "ExecIDs": None,
    "Mounts": [],
    "NetworkSettings": {"Ports": {}, "Networks": {"bridge": {"IPAddress": "172.17.0.2", "Gateway": "172.17.0.1"}}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Config.Env}}", "[]"),
        ("{{json .State}}", '{"Status":"running","Running":true,"Pid":31568}'),
        ("{{range $k,$v := .Config.Labels}}{{$k}}={{$v}}{{end}}", "a=b"),
        ("{{.Config.Labels}}", "map[a:b]"),
        ('{{index .Config.Labels "a"}} {{index .Config.Labels "zz"}}|', "b |"),
        ("{{.Config.Labels.zz}}", "<no value>"),
        ("{{.HostConfig.Binds}} {{.ExecIDs}} {{.HostConfig.Memory}} {{.Mounts}}", "[] [] 0 []"),
        ("{{.NetworkSettings.Networks.bridge.IPAddress}}", "172.17.0.2"),
        ('{{if eq .State.Status "running"}}y{{else}}n{{end}}', "y"),
        ('{{if eq .State.Status "a"}}1{{else if true}}2{{end}}', "2"),
        ("{{if false}}1{{else if false}}2{{else}}3{{end}}4", "34"),
        ('{{printf "%s-%d-%v-%q-%5d|%-8s|%x" .Name .State.Pid .Config.Cmd .Name 3 "ab" "hi"}}', '/fc1-31568-[sleep 1000]-"/fc1"-    3|ab      |6869'),
        ('{{println "a" 1 true}}', "a 1 true\n"),
        ('{{print 1 2 "a" "b"}}', "1 2ab"),
        ('{{join .Config.Cmd ","}}', "sleep,1000"),
        ('{{split .Name "c"}}', "[/f 1]"),
        ('{{upper .Name}} {{lower "AB"}} {{title "abc"}}', "/FC1 ab Abc"),
        ('{{pad "x" 2 3}}|{{truncate "abcdef" 3}}', "  x   |abc"),
        ('{{not .State.Running}} {{and 1 0}} {{or 0 "x"}}', "false 0 x"),
        ('{{"a" | printf "%s"}}{{- " x" -}} ', "a x"),
        ("{{.HostConfig.LogConfig}} {{.HostConfig.RestartPolicy}}", "{json-file map[]} {no 0}"),
        ('{{lt 1 2}} {{slice "abcdef" 1 3}} {{html "<a>"}} {{urlquery "a b"}}', "true bc &lt;a&gt; a+b"),
        ("{{/* c */}}x", "x"),
        ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}", "12"),
        ("{{.Config.Healthcheck}} {{.HostConfig.MemorySwappiness}} {{.SizeRw}}", "<nil> <nil> <nil>"),
        ("{{json .Config.Healthcheck}} {{json .HostConfig.Binds}}", "null null"),
        ("{{range $i, $e := .Config.Cmd}}{{$i}}{{$e}} {{else}}none{{end}}", "0sleep 11000 "),
        ("{{range .Config.Env}}x{{else}}none{{end}}", "none"),
        ('{{define "x"}}hey{{end}}{{template "x"}}', "hey"),
        ("{{'a'}} {{`raw`}} {{1.5}} {{0x10}}", "97 raw 1.5 16"),
        ("{{range 3}}a{{end}}", "aaa"),
        ("{{range .Config.Cmd}}{{.}}{{break}}{{end}}", "sleep"),
        ('{{json "<a>"}}', '"<a>"'),
        ("{{with $x := .Config}}{{$x.Image}}{{end}} {{$.Name}}", "fbox:1 /fc1"),
        ('{{printf "%05d %t %6.2f" 5 true 1.5}}', "00005 true   1.50"),
        ('{{printf "%d" "x"}} {{printf "%s"}} {{printf "a" 1}}', "%!d(string=x) %!s(MISSING) a%!(EXTRA int=1)"),
        ("{{if .State.Health}}x{{else}}y{{end}}", "y"),
        ("{{.ID}} {{.HostConfig.NanoCPUs}}", "4dc1 0"),
    ],
)
def test_what_docker_prints(template: str, text: str) -> None:
    assert execute(parse(template), DOCUMENT) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{.Foo}}", '1:2: executing "" at <.Foo>: map has no entry for key "Foo"'),
        ("{{.State.Foo}}", '1:8: executing "" at <.State.Foo>: map has no entry for key "Foo"'),
        ("{{range .Name}}x{{end}}", '1:8: executing "" at <.Name>: range can\'t iterate over /fc1'),
        ("{{index .Config.Cmd 5}}", '1:2: executing "" at <index .Config.Cmd 5>: error calling index: index out of range: 5'),
        ('{{.Config.Cmd | join ","}}', '1:21: executing "" at <",">: can\'t handle "," for arg of type []string'),
        ('{{eq 1 "a"}}', '1:2: executing "" at <eq 1 "a">: error calling eq: incompatible types for comparison: int and string'),
        ("{{len 3}}", '1:2: executing "" at <len 3>: error calling len: len of type int'),
        ("{{.Name.Foo}}", '1:7: executing "" at <.Name.Foo>: can\'t evaluate field Foo in type interface {}'),
        ('{{template "x"}}', '1:11: executing "" at <{{template "x"}}>: template "x" not defined'),
        ("{{nil}}", '1:2: executing "" at <nil>: nil is not a command'),
        ('{{.Name "a"}}', '1:2: executing "" at <.Name>: Name is not a method but has arguments'),
        ("{{upper 1}}", '1:8: executing "" at <1>: expected string; found 1'),
        ('{{define "x"}}{{template "x"}}{{end}}{{template "x"}}', ""),
    ],
)
def test_errors_of_execution(template: str, text: str) -> None:
    with pytest.raises(ExecuteError) as caught:
        execute(parse(template), DOCUMENT)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{", "1: unclosed action"),
        ("{{foo}}", '1: function "foo" not defined'),
        ("{{if}}", "1: missing value for if"),
        ("{{end}}", "1: unexpected {{end}}"),
        ("{{else}}", "1: unexpected {{else}}"),
        ("{{break}}", "1: {{break}} outside {{range}}"),
        ("{{range .Config.Cmd}}", "1: unexpected EOF"),
        ('{{"unterminated}}', "1: unterminated quoted string"),
        ("{{$x}}", '1: undefined variable "$x"'),
        ("a\n{{foo}}", '2: function "foo" not defined'),
        ("{{(}}", "1: unclosed left paren"),
    ],
)
def test_errors_of_the_template(template: str, text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(template)
    assert str(caught.value) == text


def test_rows() -> None:
    row = ContainerRow({"Id": "a" * 64, "Names": ["/n"], "Labels": {"x": "1"}, "Command": "sh -c 'a long command line'"}, True)
    assert execute(parse('{{.ID}} {{.Label "x"}} {{.Command}}'), row) == 'aaaaaaaaaaaa 1 "sh -c \'a long comma…"'
    for template, text in (
        ("{{.Foo}}", "can't evaluate field Foo in type *formatter.ContainerContext"),
        ("{{.Label}}", "wrong number of args for Label: want 1 got 0"),
        ('{{.ID "x"}}', "wrong number of args for ID: want 0 got 1"),
    ):
        with pytest.raises(ExecuteError) as caught:
            execute(parse(template), row)
        assert text in str(caught.value)
