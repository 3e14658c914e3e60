"""`curate score ANSWERS`: per family and column, tolerant and strict, with intervals clustered by recording."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from curate.bench import BadFile, Item, Predictions, published_items, read_predictions, score_items, shard_items
from curate.bench.intervals import clustered_mean, student
from curate.cli.main import main
from curate.questions.columns import columns
from curate.rewards import as_record
from curate.shards.publish import publish
from tests.shard_samples import samples

OPTIONS = ["left", "right", "up", "down"]
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "benchmarks"
VLM4D = [  # the layout of VLM4D's outputs: options by letter, the truth as text or number, the model's text
    {"id": "validation_1", "video": "a.mp4", "question_type": "multiple-choice", "question": "Which way?",
     "choices": {"A": "left", "B": "right", "C": "still", "D": "no car there"}, "answer": "right", "response": "B"},
    {"id": "validation_2", "video": "a.mp4", "question": "Which way?",
     "choices": {"A": "left", "B": "right", "C": "still", "D": "no car"}, "answer": "left", "response": "left"},
    {"id": "validation_3", "video": "b.mp4", "question": "How many?", "choices": {"A": 1, "B": 2, "C": 3, "D": 0},
     "answer": 0, "response": "Therefore, the final answer is: D"},
    {"id": "validation_4", "video": "b.mp4", "question": "How many?", "choices": {"A": 1, "B": 2, "C": 3, "D": 0},
     "answer": 2, "response": "C"},
    {"id": "validation_5", "video": "c.mp4", "question": "Turning?",
     "choices": {"A": "clockwise", "B": "counter-clockwise", "C": "not rotating", "D": "both"},
     "answer": "counter-clockwise", "response": "It turns counter-clockwise."},
    {"id": "validation_6", "video": "c.mp4", "question": "Turning?",
     "choices": {"A": "clockwise", "B": "counter-clockwise", "C": "not rotating", "D": "both"},
     "answer": "clockwise", "response": ""}]


def choice(name, family, recording, answer="right"):
    return Item(name, family, recording, as_record({"answer_type": "choice", "answer": answer, "options": OPTIONS}))


def number(name, family, recording, value=2.0):
    return Item(name, family, recording, as_record({"answer_type": "number", "value": value, "unit": "m"}))


def said(**texts):
    return Predictions({name: str(text) for name, text in texts.items()})


def lines(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*args):
    return CliRunner().invoke(main, ["score", *map(str, args)])


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A set of four clips of two recordings: each asks for 1.8 m and for "right", which is B."""
    root = tmp_path_factory.mktemp("set")
    publish(root, samples(4))
    return root / "shards"


def test_vlm4d_outputs_give_both_figures(tmp_path):
    path = tmp_path / "outputs.json"
    path.write_text(json.dumps(VLM4D, indent=1))
    report = score_items(published_items(path))
    assert [i.score for i in report.items] == [1, 1, 1, 0, 1, 0]
    assert [i.strict for i in report.items] == [1, 0, 0, 0, 0, 0]
    done = run(path)
    assert done.exit_code == 0 and "66.7 % right by letter, text or value; 16.7 % by a letter alone" in done.stdout
    assert report.total().score.num_clusters == 3 and report.total().num_unread == 1


@pytest.mark.shared
def test_the_published_questions_are_read():
    path = SHARED / "vlm4d_real_mc_first20_format_sample.json"
    if not path.is_file():
        pytest.skip("the format sample is not beside this checkout")
    items = list(published_items(path))
    rows = json.loads(path.read_text())
    assert len(items) == len(rows) == 20
    assert [i.record["options"][ord(i.record["letter"]) - 65] for i in items] == [str(row["answer"]) for row in rows]
    answers = Predictions({i.id: i.record["answer"] for i in items})
    report = score_items(items, answers)
    assert report.total().score.value == 1 and report.total().strict.value == 0


@pytest.mark.parametrize("row,letter", [
    ({"candidates": ["left", "right"], "answer": "B"}, "B"),
    ({"options": ["A. left", "B. right"], "answer": "A. left"}, "A"),
    ({"options": ["A. left", "B. right"], "solution": "<answer>B</answer>"}, "B"),
    ({"choices": {"A": "B", "B": "A"}, "answer": "A"}, "B"),
    ({"choices": ["1.0", "2.0", "3.0"], "answer": "2.0"}, "B")])
def test_other_published_layouts(tmp_path, row, letter):
    item, = published_items(lines(tmp_path / "a.jsonl", row))
    assert item.record["letter"] == letter


def test_numbers_and_texts_of_published_files(tmp_path):
    path = lines(tmp_path / "a.jsonl", {"id": 1, "answer": 4.0, "response": "about 4.0"},
                 {"id": 2, "answer": "a red car", "response": "A red car."})
    assert [i.score for i in score_items(published_items(path)).items] == [1, 1]


def test_a_models_answers_to_a_set(published, tmp_path):
    items = list(shard_items(published))
    assert len(items) == 8 and len({i.recording for i in items}) == 2
    text = {"object_displacement": "<think>far</think><answer>180 cm</answer>", "object_direction": "to the right"}
    path = lines(tmp_path / "answers.jsonl", *({"id": i.id, "text": text[i.family]} for i in items))
    done = run(path, "--against", published, "--report", tmp_path / "out" / "scores.json")
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert content["all"]["score"]["value"] == 1 and content["all"]["strict"]["value"] == 0
    assert {row["name"] for row in content["families"]} == {"object_displacement", "object_direction"}
    assert [row["name"] for row in content["r4d"]] == ["T", "DP", "mean"]
    assert [row["name"] for row in content["mllm4d"]] == ["object_displacement"]
    assert "By column of R4D-Bench" in done.stdout and "choices: 100.0 % right" in done.stdout
    assert content["missing"] == content["doubled"] == content["unknown"] == []
    assert run(path, "--against", published, "--quiet").stdout == ""
    assert run(path, "--against", published.parent, "--split", "train").exit_code == 0


def test_missing_unknown_and_doubled_answers_are_told(published, tmp_path):
    ids = [i.id for i in shard_items(published) if i.family == "object_direction"]
    path = lines(tmp_path / "answers.jsonl", {"id": ids[0], "text": "B"}, {"id": ids[0], "text": "A"},
                 {"id": ids[1], "text": "A"}, {"id": ids[1], "text": "A"}, {"id": "elsewhere", "text": "B"})
    report = score_items(shard_items(published), read_predictions(path))
    by_id = {i.id: i for i in report.items}
    assert by_id[ids[0]].score == 1 and by_id[ids[1]].score == 0  # the first answer counts
    assert report.doubled == ids[:2] and report.conflicting == ids[:1] and report.unknown == ["elsewhere"]
    assert len(report.missing) == 6 and report.total().score.value == 1 / 8
    said = " ".join(run(path, "--against", published).stdout.split())
    for words in ("6 questions without an answer", "2 ids answered more than once", "1 answers to no question",
                  "1 of those with different answers"):
        assert words in said, said


def test_a_question_that_the_truth_has_twice_counts_once():
    twice = [choice("q", "object_direction", "a"), choice("q", "object_direction", "a", "left")]
    report = score_items(twice, said(q="right"))
    assert [i.score for i in report.items] == [1] and report.repeated == ["q"]


def test_columns_average_their_questions_and_the_mean_its_columns():
    items = [*(number(f"d{i}", "object_displacement", f"r{i}") for i in range(3)),
             choice("t", "object_direction", "r1"), choice("x", "whose_motion", "r2")]
    report = score_items(items, said(d0="2 m", d1="2 m", d2="0.1 m", t="B", x="left"))
    rows = {row.name: row for row in report.by_column("r4d")}
    assert rows["DP"].score.value == pytest.approx(2 / 3) and rows["T"].score.value == 1
    assert rows["mean"].score.value == pytest.approx((2 / 3 + 1) / 2) and rows["mean"].score.num == 4
    assert "whose_motion" in [row.name for row in report.families()] and math.isnan(rows["DP"].strict.value)
    elsewhere = score_items(items, said(x="B"), {"r4d": {"whose_motion": "FP"}})
    assert {row.name: row.score.value for row in elsewhere.by_column("r4d")}["FP"] == 1


def test_every_column_of_the_two_benchmarks_can_be_scored():
    assert len(columns("r4d")) == 9 and len(columns("mllm4d")) == 7
    named = score_items([choice("a", "3D Video Grounding", "r"), choice("b", "false premise", "s")], said(a="B", b="B"))
    assert [row.name for row in named.by_column("r4d")] == ["VG", "FP", "mean"]  # a benchmark's own names


def test_an_interval_is_wider_where_a_recording_answers_alike():
    values = [1.0, 0.0] * 50
    apart = clustered_mean(values, [str(i) for i in range(100)])
    alike = clustered_mean(sorted(values), [str(i // 10) for i in range(100)])
    assert apart.value == alike.value == 0.5
    assert alike.high - alike.low > 2.5 * (apart.high - apart.low)
    z, n = 1.98422, 100 * 99 / 100  # Student's t of 99, and Wilson's interval by hand
    half = z / (1 + z**2 / n) * math.sqrt(0.25 / n + z**2 / (4 * n**2))
    assert apart.high - apart.low == pytest.approx(2 * half, rel=1e-3)


def test_intervals_at_the_edges_are_not_points():
    every = clustered_mean([1.0] * 200, [str(i // 20) for i in range(200)])
    assert every.value == every.high == 1 and 0.6 < every.low < 0.95
    one = clustered_mean([1.0, 1.0], ["a", "a"])
    assert (one.low, one.high) == (0.0, 1.0)  # one recording tells nothing of others
    none = clustered_mean([], [])
    assert math.isnan(none.value) and (none.low, none.high) == (0.0, 1.0)


def test_clustered_intervals_hold_what_they_state():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        shares = rng.beta(2, 2, 40)  # 40 recordings, ten questions each, of mean ½
        values = (rng.uniform(size=(40, 10)) < shares[:, None]).astype(float).ravel()
        mean = clustered_mean(values, np.repeat(np.arange(40), 10).astype(str))
        held += mean.low <= 0.5 <= mean.high
    assert held / 300 > 0.92


def test_students_t():
    """Against the printed tables."""
    for dof, t in ((1, 12.7062), (5, 2.5706), (11, 2.2010), (30, 2.0423), (120, 1.9799)):
        assert student(dof) == pytest.approx(t, abs=2e-3)


@pytest.mark.parametrize("text,said", [
    ("", "empty"), ("{", "is no JSON object"), ('{"id": "a"}', "no answer"), ('{"text": "B"}', "no id"),
    ('{"id": "a", "text": "B"}\nB\n', "answers.jsonl:2: 'B' is no JSON object"), ("[1]", "item 0"),
    ("[" * 5000, "is no JSON")])
def test_a_file_of_answers_that_is_none(tmp_path, published, text, said):
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    with pytest.raises(BadFile, match=said.replace("[", r"\[")):
        read_predictions(path)
    done = run(path, "--against", published)
    assert done.exit_code == 2 and said in " ".join(done.stderr.split())


def test_answers_in_other_wrappings(tmp_path):
    for content in ('{"a": "B", "b": "left"}',
                    '[{"question_id": "a", "response": "B"}, {"qid": "b", "output": "left"}]',
                    '{"id": "a", "text": [{"role": "assistant", "content": "B"}]}\n\n'
                    '{"id": "b", "prediction": "left"}\n'):
        path = tmp_path / "answers.json"
        path.write_text(content)
        assert read_predictions(path).texts == {"a": "B", "b": "left"}
    path.write_text('{"id": 3, "text": 1.5}')
    assert read_predictions(path).texts == {"3": "1.5"}


@pytest.mark.parametrize("row,said", [
    ({"choices": ["a"], "answer": "a"}, "1 options"),
    ({"choices": {"A": "x", "C": "y"}, "answer": "x"}, "letters A, B"),
    ({"choices": ["a", "b"], "answer": "c"}, "none of the options"),
    ({"choices": ["a", "a"], "answer": "a"}, "several"),
    ({"choices": 3, "answer": "c"}, "options are a int"), ({"question": "Why?"}, "no truth")])
def test_a_published_question_without_a_clear_truth_is_an_error(tmp_path, row, said):
    path = lines(tmp_path / "bench.jsonl", VLM4D[0], row)
    with pytest.raises(BadFile, match=f"bench.jsonl:2: .*{said}"):
        list(published_items(path))


def test_the_command_says_what_it_was_given(tmp_path, published):
    answers = lines(tmp_path / "answers.jsonl", {"id": "x", "text": "B"})
    asked = lines(tmp_path / "asked.jsonl", {k: v for k, v in VLM4D[0].items() if k != "response"})
    for args, said in (((answers,), "answers without questions"), ((asked,), "questions without answers"),
                       ((tmp_path / "none.jsonl", "--against", published), "no such file"),
                       ((tmp_path, "--against", published), "is a folder"),
                       ((answers, "--against", published), "none of its 1 ids is a question of"),
                       ((answers, "--against", tmp_path / "none.json"), "no such file"),
                       ((answers, "--against", published, "--truth", tmp_path), "--truth is of a run")):
        done = run(*args)
        assert done.exit_code == 2 and said in " ".join(done.stderr.split()), done.output
    torn = run(answers, "--against", tmp_path)
    assert torn.exit_code == 1 and "not published" in torn.stderr
    wrong = run(answers, "--against", published, "--split", "test")
    assert wrong.exit_code == 1 and "no split 'test'" in wrong.stderr


def test_a_training_files_records_are_questions_too(tmp_path):
    record = {"answer_type": "number", "value": 2.0, "unit": "m", "family": "object_displacement"}
    path = lines(tmp_path / "swift.jsonl", {"id": "a", "messages": [], "solution": json.dumps(record)},
                 {"id": "b", "prompt": [], "reward_model": {"style": "rule", "ground_truth": json.dumps(record)}})
    report = score_items(published_items(path), said(a="200 cm", b="1 m"))
    assert [(i.family, i.score) for i in report.items] == [("object_displacement", 1.0), ("object_displacement", 0.1)]


def test_open_answers_are_scored_by_their_metric(tmp_path):
    rows = [{"id": "s", "family": "procedural_change", "recording": "a", "answer_type": "sequence",
             "metric": "sequence", "answer": "grows, constant", "target": ["grows", "constant"]},
            {"id": "t", "family": "event_time", "recording": "b", "answer_type": "span", "metric": "tiou",
             "answer": "1 s to 3 s", "target": [1.0, 3.0]}]
    items = list(published_items(lines(tmp_path / "a.jsonl", *rows)))
    report = score_items(items, said(s="grows", t="2 s to 4 s"))
    assert [i.score for i in report.items] == [0.5, pytest.approx(1 / 3)]
    assert [row.name for row in report.of_kind()] == ["sequence/sequence", "span/tiou"]
