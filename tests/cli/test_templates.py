import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.cli.templates import Template, aligned, listing
from builder.errors import UsageError

IMAGE = {
    "Id": "sha256:abc",
    "RepoTags": ["a:1", "b:2"],
    "Size": 1234,
    "Config": {"Env": ["PATH=/bin", "A=b"], "Cmd": None, "Labels": {"x": "1", "io.y": "2"}},
    "Empty": [],
    "Label": lambda name: {"k": "v"}.get(name, ""),
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{{.Id}}", "sha256:abc"),
        ("{{ .Id }} {{.Size}}", "sha256:abc 1234"),
        (r"{{.Id}}\t{{.Size}}\n", "sha256:abc\t1234\n"),
        ("{{.Config.Env}}", "[PATH=/bin A=b]"),
        ("{{.Config.Cmd}}", "<nil>"),
        ("{{.Config.Labels}}", "map[io.y:2 x:1]"),
        ("{{.Config.Labels.x}}", "1"),
        ("{{.Config.Labels.none}}", "<no value>"),
        ('{{index .Config.Labels "io.y"}}', "2"),
        ("{{index .RepoTags 1}}", "b:2"),
        ("{{json .Config.Labels}}", '{"x":"1","io.y":"2"}'),
        ("{{json .Config.Cmd}}", "null"),
        ("{{.RepoTags | json}}", '["a:1","b:2"]'),
        ("{{len .RepoTags}}", "2"),
        ('{{join .RepoTags ", "}}', "a:1, b:2"),
        ("{{range .Config.Env}}{{println .}}{{end}}", "PATH=/bin\nA=b\n"),
        ("{{range $i, $e := .RepoTags}}{{$i}}={{$e}};{{end}}", "0=a:1;1=b:2;"),
        ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "io.y=2 x=1 "),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range .RepoTags}}{{if eq . `b:2`}}{{break}}{{end}}{{.}}{{end}}", "a:1"),
        ("{{range .RepoTags}}{{if eq . `a:1`}}{{continue}}{{end}}{{.}}{{end}}", "b:2"),
        ("{{if .Empty}}a{{else if .Size}}b{{else}}c{{end}}", "b"),
        ("{{if and .Id (not .Empty)}}yes{{end}}", "yes"),
        ("{{if or .Empty .Config.Cmd}}yes{{else}}no{{end}}", "no"),
        ("{{with .Config}}{{len .Env}} {{$.Id}}{{end}}", "2 sha256:abc"),
        ("{{$x := .Size}}{{if true}}{{$x = 7}}{{end}}{{$x}}", "7"),
        ("a {{- .Size -}} \n b", "a1234b"),
        ("{{/* nothing }} here */}}x", "x"),
        ('{{printf "%-6s|%5d|%q|%.2f|%%" "ab" 42 "c" 1.5}}', 'ab    |   42|"c"|1.50|%'),
        ('{{printf "%05d" 42}}', "00042"),
        ('{{print "a" 1 2 "b"}}', "a1 2b"),
        ("{{upper .Id}} {{title `one two`}}", "SHA256:ABC One Two"),
        ('{{(index .RepoTags 0) | printf "%s!"}}', "a:1!"),
        ('{{.Label "k"}}', "v"),
        ("{{(.Config).Env}}", "[PATH=/bin A=b]"),
        ('{{slice .Id 0 6}} {{truncate .Id 3}} {{split "a:b" ":"}}', "sha256 sha [a b]"),
        ("{{gt .Size 1000}} {{le 2 1}} {{ne 1 2}}", "true false true"),
        ('{{"}}"}}', "}}"),
        ('{{json "\\n"}}', '"\\n"'),
    ],
)
def test_a_template_writes_what_gos_would(template: str, expected: str) -> None:
    assert Template(template).render(IMAGE) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{.Id",
        "{{}}",
        "{{end}}",
        "{{if .Id}}",
        "{{else}}",
        "{{range}}{{end}}",
        "{{nothing .Id}}",
        "{{.Idd}}",
        "{{.Id.Deeper}}",
        "{{$x}}",
        "{{index .RepoTags 9}}",
        "{{len 5}}",
        "{{break}}",
        "{{lt `a` 1}}",
        "{{json}}",
        "{{(.Id}}",
        "{{.Id)}}",
        "{{.Id | }}",
        "{{range .Id}}{{end}}",
        "{{template `x`}}",
        "{{if .Id}}" * 200,
        "{{" + "(" * 200 + ".Id" + ")" * 200 + "}}",
    ],
)
def test_a_wrong_template_is_a_usage_error(template: str) -> None:
    with pytest.raises(UsageError):
        Template(template).render(IMAGE)


def test_a_misspelt_field_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean RepoTags"):
        Template("{{.RepoTag}}").render(IMAGE)


def test_a_template_cannot_reach_python() -> None:
    with pytest.raises(UsageError):
        Template("{{.__class__}}").render({"Id": "x"})


@given(st.text(max_size=60))
def test_any_text_either_renders_or_is_a_usage_error(text: str) -> None:
    try:
        rendered = Template(text).render(IMAGE)
    except UsageError:
        return

    assert isinstance(rendered, str)


@given(
    st.lists(
        st.sampled_from(
            [
                "{{",
                "}}",
                ".",
                "Id",
                "|",
                "(",
                ")",
                '"',
                "range",
                "end",
                " ",
                "if",
                "$x",
                ":=",
                "1",
                "else",
                "-",
                "/*",
                "json",
            ]
        ),
        max_size=20,
    )
)
def test_any_mix_of_tokens_either_renders_or_is_a_usage_error(parts: list[str]) -> None:
    try:
        rendered = Template("".join(parts)).render(IMAGE)
    except UsageError:
        return

    assert isinstance(rendered, str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_json_writes_values_that_read_back_equal(value: object) -> None:
    assert json.loads(Template("json").render(value)) == value


def test_a_listing_writes_one_row_a_line() -> None:
    rows = [{"ID": "1", "Name": "a"}, {"ID": "2", "Name": "b"}]

    assert listing("{{.ID}}-{{.Name}}", {}, rows) == "1-a\n2-b\n"
    assert listing("json", {}, rows) == '{"ID":"1","Name":"a"}\n{"ID":"2","Name":"b"}\n'


def test_a_table_has_headings_and_aligned_columns() -> None:
    rows = [{"ID": "1", "Name": "short"}, {"ID": "2", "Name": "somewhat longer"}]
    headers = {"ID": "IMAGE ID", "Name": "NAME"}

    assert listing(r"table {{.Name}}\t{{.ID}}", headers, rows) == (
        "NAME              IMAGE ID\nshort             1\nsomewhat longer   2\n"
    )


def test_a_column_is_ten_wide_at_least() -> None:
    assert aligned(["A\tB\tC", "1\t2\t3"]) == "A         B         C\n1         2         3\n"
