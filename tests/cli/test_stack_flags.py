"""The flags of a core's options."""

from srwm.cli.stack_flags import with_all_options, without_default_options
from srwm.nn import StackConfig

PRESET = StackConfig(core_options={"query_init_std": 0.01})


def test_every_option_of_the_preset_core_is_a_flag() -> None:
    shown = with_all_options(PRESET, ["--steps", "3"], "--model.stack.core")
    assert shown.core_options == {"input_softmax": False, "beta_init": 0.0, "query_init_std": 0.01}
    assert without_default_options(shown) == PRESET


def test_a_named_core_brings_its_own_options() -> None:
    for words in (["--model.stack.core", "deltanet"], ["--model.stack.core=deltanet", "--steps", "3"]):
        shown = with_all_options(PRESET, words, "--model.stack.core")
        assert (shown.core, shown.core_options) == (
            "deltanet",
            {"eps": 0.0, "feature_map": "elu", "tied_init": False, "beta_max": 1.0},
        )
        assert without_default_options(shown) == StackConfig("deltanet")


def test_an_unknown_core_is_left_to_the_check_of_the_configuration() -> None:
    for words in (["--model.stack.core", "lsmt"], ["--model.stack.core"]):
        assert with_all_options(PRESET, words, "--model.stack.core").core == "srwm"
    unknown = StackConfig("lsmt", core_options={"eps": 1.0})
    assert without_default_options(unknown) == unknown
