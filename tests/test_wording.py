"""Templates stay inside the whitelisted subset."""

import pytest

from curate.questions.families import families
from curate.questions.wording import FIELDS, Paraphrase, TemplateError, load, parse, parts_of


@pytest.mark.parametrize("source,message", [
    ("{% for x in span %}{{ x }}{% endfor %}", "For"), ("{{ span() }}", "Call"), ("{{ span + unit }}", "Add"),
    ("{{ span.__class__ }}", "Getattr"), ("{{ span[0] }}", "Getitem"), ("{% include 'x' %}", "Include"),
    ("{% set x = span %}", "Assign"), ("{{ secret }}", "secret"), ("{{ span | upper }}", "filter|upper"),
    ("{{ span | cap(1) }}", "cap"), ("{% macro m() %}{% endmacro %}", "Macro"), ("{{ 10 ** 9 }}", "Pow"),
    ("{{ span ~ span }}", "Concat"), ("{{ span if unit else at }}", "CondExpr"), ("{{ span", "end of"),
    ("{% if span < unit %}x{% endif %}", "lt"), ("x" * 1001, "1001"), ("{{ [span] }}", "List"),
    ("{% if span is defined %}x{% endif %}", "defined|Test"), ("{{ self }}", "self"), ("{{ 5 }}", "constant"),
    ("{% raw %}{% endraw %}{% block b %}{% endblock %}", "Block")])
def test_templates_outside_the_subset_are_refused(source, message):
    with pytest.raises(TemplateError, match=message):
        parse(source, "my.yaml: number 0")


def test_templates_inside_the_subset():
    template = parse("{% if unit == 'm' %}{{ span | cap }}{% else %}{{ region | article }}{% endif %}", "t", {"span"})
    assert template.render(unit="m", span="between", region="") == "Between"
    assert template.render(unit="", span="", region="object") == "an object"
    with pytest.raises(TemplateError, match="does not state reference"):
        parse("{{ span }}", "t", {"span", "reference"})


@pytest.mark.parametrize("text,message", [
    ("number: []", "list of templates"), ("other: [x]", "known: number, category, open"),
    ("open: [x]", "needs"), ("- x", "found sequence"),
    ("number: [1]", "list of templates"),
    ("number: [", "cannot be read"), ("number: ['no time']", "does not state span")])
def test_a_broken_template_file_names_itself(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(TemplateError, match=message) as error:
        load(path, "mine", {"number": {"span"}})
    assert "mine.yaml" in str(error.value)


def test_every_template_filled_from_its_pieces_reads_as_jinja_writes_it():
    for family in families().values():
        fields = {name: f"an {name}  of two" for name in (*FIELDS, *family.fields)}
        for section in family.sections:
            for paraphrase in family.wording(section):
                assert paraphrase.render(fields) == Paraphrase("", paraphrase.template).render(fields)


@pytest.mark.parametrize("source", ["{{ span | cap }}, {{ region | article | cap }}?", "plain", "{{ at }}"])
def test_pieces_are_used_where_there_is_no_choice(source):
    assert Paraphrase("", parse(source, "t"), parts_of(source)).render(dict.fromkeys(FIELDS, "egg")) == \
        Paraphrase("", parse(source, "t")).render(dict.fromkeys(FIELDS, "egg"))
    assert parts_of("{% if unit == 'm' %}a{% endif %}") is None
