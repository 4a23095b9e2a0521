"""Promise: every fault of params.yaml is reported at once, with the nearest right name, and edits keep comments."""

import copy
import functools
from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from ink.errors import ParamsError
from ink.params import Params, check, dataset_block, read_params, section, set_values, suggest

TEXT = """\
# top
simplify:
  epsilon: 2.0   # pixels
  max_points: 100
  unit: "side255"
datasets:
  cats:
    simplify: {epsilon: 1.0}   # finer
  dogs: {}
"""


class Simplify(Params):
    epsilon: float = Field(gt=0)
    max_points: int = Field(ge=2)
    unit: str


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(TEXT)
    return path


def test_section_and_override_of_a_dataset(file):
    params = read_params(file)
    assert section(params, "simplify", Simplify) == Simplify(epsilon=2.0, max_points=100, unit="side255")
    assert section(params, "simplify", Simplify, "cats").epsilon == 1.0
    assert section(params, "simplify", Simplify, "dogs").epsilon == 2.0
    assert params["simplify"]["epsilon"] == 2.0  # the override changed no shared value


def test_settings_are_frozen(file):
    settings = section(read_params(file), "simplify", Simplify)
    with pytest.raises(ValidationError, match="frozen"):
        settings.epsilon = 3.0


def test_several_faults_come_in_one_message():
    with pytest.raises(ParamsError) as caught:
        check({"epsilom": 1.0, "max_points": 1, "unit": 5}, Simplify, "simplify")
    message = str(caught.value)
    for part in (
        "params.yaml, section simplify: ",
        "unknown key 'epsilom', did you mean 'epsilon'?",
        "key 'epsilon' is missing",
        "max_points: input should be greater than or equal to 2, got 1",
        "unit: input should be a valid string, got 5",
    ):
        assert part in message
    assert message.count(";") == 3 and "\n" not in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "many"])
def test_bad_numbers_are_refused(value):
    with pytest.raises(ParamsError, match="epsilon: "):
        check({"epsilon": value, "max_points": 5, "unit": ""}, Simplify, "simplify")


def test_a_missing_section_names_every_missing_key(file):
    with pytest.raises(ParamsError, match="'epsilon' is missing; key 'max_points' is missing; key 'unit' is missing"):
        section(read_params(file), "nothing", Simplify)


def test_suggestions():
    assert suggest("quickdrew", ["digits", "quickdraw"]) == "did you mean 'quickdraw'?"
    assert suggest("zzz", ["b", "a"]) == "expected one of: a, b"
    assert suggest("zzz", []) == "expected one of: (none)"


def test_an_unknown_dataset_is_answered_with_the_nearest(file):
    with pytest.raises(ParamsError, match=r"dataset 'cat' is not in params.yaml; did you mean 'cats'\?"):
        dataset_block(read_params(file), "cat")


def test_set_values_changes_the_values_and_nothing_else(file):
    set_values(["simplify.epsilon=3.5", "datasets.cats.simplify.epsilon=4", 'simplify.unit="radius"'], file)
    expected = TEXT.replace("epsilon: 2.0 ", "epsilon: 3.5 ").replace("{epsilon: 1.0}", "{epsilon: 4}")
    expected = expected.replace('"side255"', "radius")
    assert file.read_text() == expected
    assert read_params(file)["simplify"] == {"epsilon": 3.5, "max_points": 100, "unit": "radius"}


def test_set_values_takes_yaml(file):
    set_values(["simplify.max_points=[1, 2]", "simplify.unit=null"], file)
    assert read_params(file)["simplify"]["max_points"] == [1, 2] and read_params(file)["simplify"]["unit"] is None
    set_values([], file.parent / "absent.yaml")  # nothing to set, nothing to read


_EDITS = {
    "a:\n  b: 1        # σ² of it\n": ("a.b=[1, {x: 2}]", "a:\n  b: [1, {x: 2}] # σ² of it\n"),
    "# σ²\na: {b: [{c: 1}, {d: 2}],\n  e: 1}  # on two lines\n": (
        "a.e=x y",
        "# σ²\na: {b: [{c: 1}, {d: 2}],\n  e: x y}  # on two lines\n",
    ),
    "a: {b: 1}\n": ("a.b='x, y: z'", "a: {b: 'x, y: z'}\n"),
    "a:\n  b:\n  c: 1\n": ("a.b=2", "a:\n  b: 2\n  c: 1\n"),
    "a:\n  b:\n    - 1\n    - x: 2   # last\n\n# next\nc: 1\n": (
        "a.b=[]",
        "a:\n  b:\n    []       # last\n\n# next\nc: 1\n",
    ),
    "a: 'it''s'\n": ("a=on", "a: true\n"),
}


@pytest.mark.parametrize(("before", "edit"), _EDITS.items())
def test_set_values_keeps_how_the_file_is_written(tmp_path, before, edit):
    assignment, after = edit
    path = tmp_path / "params.yaml"
    path.write_text(before, encoding="utf-8")
    set_values([assignment], path)
    assert path.read_text(encoding="utf-8") == after


def test_set_values_sets_each_number_of_the_project_alone(tmp_path):
    source = Path(__file__).parents[2] / "params.yaml"
    path, values = tmp_path / "params.yaml", read_params(source)
    lines = source.read_text(encoding="utf-8").splitlines()
    for dotted in (
        "run.seed",
        "models.sketchode.fit.steps",
        "datasets.quickdraw.augment.copies",
        "studies.table1.grid",
    ):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        set_values([f"{dotted}=123456"], path)
        *parents, last = dotted.split(".")
        functools.reduce(dict.__getitem__, parents, expected := copy.deepcopy(values))[last] = 123456
        assert read_params(path) == expected
        changed = [
            pair
            for pair in zip(lines, path.read_text(encoding="utf-8").splitlines(), strict=True)
            if pair[0] != pair[1]
        ]
        assert len(changed) == 1


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("simplify.epsilon", "expected section.key=value"),
        ("simplify.epsilom=1", r"no key 'epsilom' in params.yaml; did you mean 'epsilon'\?"),
        ("simplfy.epsilon=1", r"no key 'simplfy' in params.yaml; did you mean 'simplify'\?"),
        ("simplify.epsilon.deeper=1", "no key 'deeper'"),
        ("simplify.epsilon=[1", "not valid YAML"),
    ],
)
def test_a_bad_assignment_changes_nothing(file, assignment, message):
    with pytest.raises(ParamsError, match=message):
        set_values(["simplify.max_points=7", assignment], file)
    assert file.read_text() == TEXT


@pytest.mark.parametrize(("text", "message"), [("a: [1", "not valid YAML"), ("- 1\n", "a mapping"), ("", "a mapping")])
def test_unreadable_files(tmp_path, text, message):
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(ParamsError, match=message):
        read_params(tmp_path / "p.yaml")
    with pytest.raises(ParamsError, match="no such file"):
        read_params(tmp_path / "absent.yaml")


def test_assignments_may_come_from_a_file(tmp_path):
    path, budget = tmp_path / "params.yaml", tmp_path / "budget.txt"
    path.write_text("run:\n  seed: 0  # kept\n  steps: 1\n")
    budget.write_text("# more\nrun.steps=5\n\nrun.seed=2\n")
    set_values([f"@{budget}", "run.seed=3"], path)
    assert path.read_text() == "run:\n  seed: 3  # kept\n  steps: 5\n"
    with pytest.raises(ParamsError, match=r"--set @none.txt: the file cannot be read"):
        set_values(["@none.txt"], path)
