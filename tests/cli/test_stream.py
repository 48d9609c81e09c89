import csv
from collections import Counter

import pytest

from srwm.cli import main
from srwm.streams.baselines import Baseline

ROWS = "size,color,kind\n" + "".join(
    f"{n % 7},{'red' if n % 3 else ''},{'big' if n % 7 > 3 else 'small'}\n" for n in range(300)
)


class Majority:
    """Predicts the most frequent label of equal rows."""

    def __init__(self):
        self.seen = {}

    def predict_one(self, x):
        counts = self.seen.get(x.get("size"))
        return counts.most_common(1)[0][0] if counts else None

    def learn_one(self, x, y):
        if y == "refused":
            raise ValueError("y: expected 16 classes or fewer, got 17")
        self.seen.setdefault(x.get("size"), Counter())[y] += 1


@pytest.fixture(autouse=True)
def learner(monkeypatch):
    monkeypatch.setattr("srwm.cli.stream.load_classifier", lambda model: Majority())


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def error_of(capsys):
    error = capsys.readouterr().err
    assert error.startswith("srwm: ")
    assert error.count("\n") == 1
    return error


def test_a_file_is_learned_scored_drawn_and_its_predictions_written(tmp_path, table, capsys):
    predictions, figure = tmp_path / "out.csv", tmp_path / "rolling.png"
    words = ["stream", str(table), "--target", "kind", "--predictions", str(predictions), "--figure", str(figure)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    (row,) = [line.split() for line in shown.splitlines() if line.strip().startswith("srwm")]
    assert row[1:3] == [f"{100 * 193 / 200:.2f}", f"{100 * 293 / 300:.2f}"]  # each of the 7 sizes is unknown once
    assert figure.read_bytes().startswith(b"\x89PNG")
    with predictions.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == 300
    assert written[0] == {"sample": "1", "label": "small", "srwm": ""}
    assert sum(each["label"] == each["srwm"] for each in written) == 293


def test_a_row_without_a_label_is_predicted_and_not_scored(tmp_path, capsys):
    table, predictions = tmp_path / "rows.csv", tmp_path / "out.csv"
    table.write_text("size,kind\n1,a\n1,\n1,a\n")
    assert main(["stream", str(table), "--target", "kind", "--predictions", str(predictions)]) == 0
    assert "each of 2 labels" in capsys.readouterr().out
    assert predictions.read_text() == "sample,label,srwm\n1,a,\n2,,a\n3,a,a\n"


def test_learners_of_river_run_beside_it(tmp_path, capsys):
    pytest.importorskip("river", reason="the extra streams is not installed")
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(ROWS.splitlines()[:60]))
    assert main(["stream", str(table), "--target", "kind", "--compare"]) == 0
    shown = capsys.readouterr().out
    for name in ("srwm", "softmax", "naive-bayes", "adaptive-tree", "nearest-neighbors", "adaptive-forest", "random-patches"):
        assert sum(line.strip().startswith(f"{name} ") for line in shown.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "nope"], "expected a column 'nope', got 'size', 'color', 'kind'"),
        (["--target", "kind", "--figure", "nowhere/x.png"], "nowhere: there is no such folder"),
        (["--target", "kind", "--figure", "x.txt"], "expected a name that ends in .png"),
        (["--target", "kind", "--predictions", "nowhere/x.csv"], "nowhere: there is no such folder"),
        (["--target", "kind", "--predictions", "rows.csv"], "this is the file to read"),
        (["--target", "kind", "--predictions", "."], "expected the name of a file to write"),
        (["--target", "kind", "--predictions", "x.png", "--figure", "./x.png"], "expected different files"),
        (["--target", "kind", "--window", "0"], "window: expected 1 or more, got 0"),
        (["--target", "kind", "--seed", "-1"], "seed: expected a number from 0"),
    ],
)
def test_mistakes_are_reported_before_anything_is_written(words, message, table, monkeypatch, capsys):
    monkeypatch.chdir(table.parent)
    assert main(["stream", "rows.csv", *words]) == 1
    assert message in error_of(capsys)
    assert [path.name for path in table.parent.iterdir()] == ["rows.csv"]
    assert table.read_text() == ROWS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("size,kind\n1,a\n1,a\n2,refused\n1,a\n", "rows.csv, sample 3: y: expected 16 classes or fewer, got 17"),
        ("size,kind\n1,a\n1,a\n2\n1,a\n", "rows.csv, line 4: expected 2 cells, as in the first row, got 1"),
    ],
)
def test_answers_before_a_sample_that_is_refused_are_kept(tmp_path, content, message, table, capsys):
    predictions = tmp_path / "out.csv"
    table.write_text(content)
    assert main(["stream", str(table), "--target", "kind", "--predictions", str(predictions)]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"srwm: {tmp_path}/{message}; the results are those of the 2 samples before\n"
    assert "each of 2 labels" in captured.out
    assert predictions.read_text() == "sample,label,srwm\n1,a,\n2,a,a\n"


def test_a_first_sample_that_is_refused_leaves_no_file(tmp_path, table, capsys):
    table.write_text("size,kind\n2,refused\n")
    assert main(["stream", str(table), "--target", "kind", "--predictions", str(tmp_path / "out.csv")]) == 1
    assert error_of(capsys).endswith("rows.csv, sample 1: y: expected 16 classes or fewer, got 17\n")
    assert not (tmp_path / "out.csv").exists()


def test_a_learner_of_river_that_fails_is_reported_and_left_out(tmp_path, table, monkeypatch, capsys):
    class Mean:
        def predict_one(self, x):
            return max(x["size"], 1.0)  # a TypeError for texts

        def learn_one(self, x, y):
            pass

    makers = {"mean": lambda seed: Mean(), "majority": lambda seed: Majority()}
    monkeypatch.setattr("srwm.cli.stream.BASELINES", {name: Baseline(name, name, make) for name, make in makers.items()})
    predictions = tmp_path / "out.csv"
    table.write_text("size,kind\n1,a\n1,a\nmany,a\n?,a\n1,a\n")
    assert main(["stream", str(table), "--target", "kind", "--compare", "--predictions", str(predictions)]) == 0
    captured = capsys.readouterr()
    assert "rows.csv, sample 3: mean is left out, it raised TypeError: '>' not supported" in captured.err
    assert [line.split()[0] for line in captured.out.splitlines()[2:4]] == ["srwm", "majority"]
    assert predictions.read_text() == "sample,label,srwm,majority\n1,a,,\n2,a,a,a\n3,a,,\n4,a,,\n5,a,a,a\n"


def test_texts_of_missing_values_are_an_option(tmp_path, table, capsys):
    predictions = tmp_path / "out.csv"
    table.write_text("size,kind\nnone,a\n,a\nNA,a\n")
    words = ["stream", str(table), "--target", "kind", "--predictions", str(predictions), "--missing", "none", "--window", "5"]
    assert main(words) == 0
    assert [row.split(",")[2] for row in predictions.read_text().splitlines()[1:]] == ["", "a", ""]


def test_a_file_without_labels_is_refused(table, capsys):
    table.write_text("size,kind\n1,\n2,\n")
    assert main(["stream", str(table), "--target", "kind"]) == 1
    assert "expected labels in the column 'kind', got empty cells" in error_of(capsys)
