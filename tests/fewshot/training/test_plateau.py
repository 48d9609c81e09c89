from srwm.fewshot.presets import PRESETS
from srwm.fewshot.training.plateau import describe_chance, suggestions, watch_accuracy


def test_the_line_names_numbers_and_suggestions(config):
    line = describe_chance(config, 500, 500, 0.351)
    assert "35.1 %, chance 33.3 %" in line
    assert f"suggestions: {', '.join(suggestions(config))} (docs" in line


def test_two_points_above_guessing_are_not_chance(config):
    assert watch_accuracy(config, patience=10).update(10, 10, 1 / 3 + 0.019)
    assert watch_accuracy(config, patience=10).update(10, 10, 1 / 3 + 0.021) is None


def test_what_a_run_does_already_is_no_suggestion():
    first, *others = suggestions(PRESETS["paper-omniglot-1shot"][1])
    assert first == "--model.input balanced"
    assert others == ["--auxiliary.kind neighbors", "--schedule trapezoid", "--sampler pooled", "another --optimizer.lr"]
    assert suggestions(PRESETS["cpu-omniglot-1shot"][1]) == ["another --optimizer.lr"]
    assert suggestions(PRESETS["cpu-omniglot-delayed"][1]) == ["another --optimizer.lr"]
    assert "--protocol-options.hint 0.5" in suggestions(PRESETS["paper-sequential-omniglot-mini-imagenet"][1])
