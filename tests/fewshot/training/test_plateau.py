from srwm.fewshot.presets import PRESETS
from srwm.fewshot.training.plateau import ChanceWatch, suggestions


def warnings_of(accuracies, every=20, patience=100):
    watch = ChanceWatch(chance=0.2, suggestions=["luck"], patience=patience)
    told = [watch.update(every * (i + 1), every, accuracy) for i, accuracy in enumerate(accuracies)]
    return [every * (i + 1) for i, line in enumerate(told) if line]


def test_chance_is_told_again_and_again():
    assert warnings_of([0.2, 0.21] * 8) == [100, 200, 300]


def test_learning_is_not_disturbed():
    assert warnings_of([0.2, 0.2, 0.2, 0.25, 0.35] + [0.6] * 20) == []


def test_a_fall_back_to_chance_is_told_after_the_patience():
    assert warnings_of([0.6] * 10 + [0.2] * 8) == [300]


def test_the_line_names_numbers_and_ways_out():
    watch = ChanceWatch(chance=0.05, suggestions=["one", "another"], patience=10)
    line = watch.update(10, 10, 0.051)
    assert "5.1 %, chance 5.0 %" in line
    assert "ways out: one, another (docs" in line


def test_what_a_run_does_already_is_no_way_out():
    first, *others = suggestions(PRESETS["paper-omniglot-1shot"][1])
    assert first == "--model.input balanced"
    assert others == ["--auxiliary.kind neighbors", "--schedule trapezoid", "--sampler pooled", "another --optimizer.lr"]
    assert suggestions(PRESETS["cpu-omniglot-1shot"][1]) == ["another --optimizer.lr"]
    assert suggestions(PRESETS["cpu-omniglot-delayed"][1]) == ["another --optimizer.lr"]
    assert "--protocol-options.hint 0.5" in suggestions(PRESETS["paper-sequential-omniglot-mini-imagenet"][1])
