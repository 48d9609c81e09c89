"""What `import srwm` costs, in processes of its own."""

import subprocess
import sys
from pathlib import Path

import srwm


def printed(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_no_name_no_torch() -> None:
    assert printed("import srwm, sys; print({'torch', 'numpy'} & set(sys.modules))") == "set()\n"


def test_public_names_alone_are_listed_and_subpackages_are_there_without_an_import_of_their_own() -> None:
    packages = sorted(
        path.parent.name for path in Path(srwm.__file__).parent.glob("*/__init__.py") if path.parent.name != "cli"
    )
    program = (
        f"import srwm; print(set(dir(srwm)) == {{*srwm.__all__, '__version__'}}, set({packages}) <= set(dir(srwm)))\n"
        f"print([getattr(srwm, name).__name__ for name in {packages}], [getattr(srwm, n) for n in dir(srwm)] != [])"
    )
    assert printed(program) == f"True True\n{[f'srwm.{name}' for name in packages]} True\n"


def test_operations_and_layers_cost_little_beside_torch() -> None:
    program = "import time, torch; began = time.process_time(); import srwm.ops, srwm.nn; print(time.process_time() - began)"
    assert any(float(printed(program)) < 0.2 for _ in range(3))


LEARNER = """
import sys
OTHERS = "tqdm tyro lightning_fabric PIL pooch matplotlib tensorboard huggingface_hub sklearn"
sys.modules.update(dict.fromkeys(OTHERS.split()))
import srwm
assert "torch" not in sys.modules
import numpy
from srwm import FewShotLearner
from srwm.learner.estimator import NotFittedError

images = numpy.zeros((2, 28, 28), numpy.uint8)
images[0, 4:24, 13:15] = 255
images[1, 13:15, 4:24] = 255
learner = FewShotLearner.from_pretrained()
try:
    learner.predict(images)
except NotFittedError as error:
    assert isinstance(error, ValueError) and isinstance(error, AttributeError)
else:
    raise SystemExit("predicted")
print(*learner.learn(images, ["|", "-"]).predict(images), learner.predict([numpy.eye(30)])[0] in "|-")
"""


def test_the_learner_needs_pytorch_numpy_scipy_and_safetensors_alone() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", LEARNER], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("| - True\n", "")


def test_the_package_itself_imports_no_large_module() -> None:
    """The program handles Ctrl-C only once it has been imported."""
    root = str(Path(srwm.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); import srwm; sys.exit('typing' in sys.modules)"
    assert subprocess.run([sys.executable, "-S", "-c", code], check=False).returncode == 0
