"""What README names exists: commands, flags, chores, configs with their arguments, and paths."""

import ast
import functools
import importlib
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from jaxseg import cli, models
from jaxseg.config import check_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PROSE = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
INLINE = re.findall(r"`([^`\n]+)`", PROSE)
# What somebody else's program, or the reader, has
FOREIGN = ("runs/", "train/images", "train/masks", "val/images", "val/masks", "tensorboard/",
           "checkpoints/", "predictions/", "eval/", "~/", "hf://", "google-coral/")  # fmt: skip
IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
PLACEHOLDER = re.compile(r"\b(NAME|DIR|SPLIT)\b")


@functools.cache
def build(model: str, options: str) -> None:
    """Once for all configs that have this model with these options."""
    built = models.build(model, 3, dtype=jnp.float32, **ast.literal_eval(options))
    jax.eval_shape(lambda x: built.init(jax.random.key(0), x, train=False), IMAGE)


def commands() -> list[str]:
    """The lines of all blocks of shell, joined where they go on, without comments."""
    blocks = [text.replace("\\\n", " ") for language, text in BLOCKS if language == "sh"]
    lines = [line.split("  #")[0].strip() for text in blocks for line in text.splitlines()]
    return [" ".join(line.split()) for line in lines if line]


def words_of_jaxseg() -> list[list[str]]:
    """The words after `jaxseg` of each command in a block."""
    found = []
    for line in commands():
        words = shlex.split(line)
        names = [Path(word).name for word in words]
        if "jaxseg" in names:
            found.append(words[names.index("jaxseg") + 1 :])
    return found


def mentioned() -> list[list[str]]:
    """The words after `jaxseg` of each command in prose and tables, placeholders and all."""
    return [text.split()[1:] for text in INLINE if re.match(r"jaxseg \w", text)]


def help_of(command: str) -> str:
    return cli._help(cli.COMMANDS[command])


@pytest.mark.parametrize("words", [*words_of_jaxseg(), *mentioned()], ids=" ".join)
def test_a_command_and_its_flags_are_in_the_help(words):
    assert words[0] in cli.COMMANDS
    text = help_of(words[0])
    flags = [match[1] for word in words if (match := re.match(r"\[?(--\w+)(?![\w.])", word))]
    for flag in flags:
        assert re.search(rf"{flag}\b", text), f"jaxseg {words[0]} has no {flag}"
    if words[0] in ("data", "weights", "bench", "sweep"):
        for action in words[1].split("\\|"):
            assert re.search(rf"jaxseg {words[0]} {action}\b", text)


@pytest.mark.parametrize(
    "words", [words for words in words_of_jaxseg() if words[0] == "train"], ids=" ".join
)
def test_a_training_has_a_config_that_can_be_built(words, monkeypatch, capsys):
    """By the program itself, which prints the config that the flags give."""
    monkeypatch.chdir(ROOT)
    assert cli.main([*words, "--print_config"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "text", sorted(set(re.findall(r"configs/[a-z]\w*\.py:?[\w=,.()]*", README)))
)
def test_a_config_and_its_argument_exist(text):
    path, _, argument = text.rstrip(".,").partition(":")
    if not argument.startswith("mine"):  # the example of a model, see below
        module = importlib.import_module(f"configs.{Path(path).stem}")
        config = check_config(module.get_config(*filter(None, [argument])))
        build(config.model.name, repr(dict(config.model.options)))


def test_every_key_that_is_mentioned_exists():
    config = importlib.import_module("configs.camvid").get_config("deeplabv3plus").to_dict()
    for key in set(re.findall(r"\bconfig\.(?!py\b|json\b)([a-z][\w.]*\w)", README)):
        section = config["loss"] if key == "loss.NAME.weight" else config
        key = key.replace("loss.NAME", "cross_entropy")
        for part in key.split("."):
            assert part in section, f"config.{key}"
            section = section[part]


def test_every_chore_exists_and_is_in_the_readme():
    chores = set(re.findall(r"^([\w-]+)\)$", (ROOT / "task").read_text(), re.MULTILINE))
    named = {
        name for text in re.findall(r"\./task ([\w\\|-]+)", README) for name in text.split("\\|")
    }
    assert named == chores


def test_every_path_exists():
    links = re.findall(r"\]\((?!http|#)([^)]+)\)", README)
    paths = [
        text
        for text in INLINE
        if re.fullmatch(r"[\w.~:-]+(/[\w.-]+)+/?", text)
        and not text.startswith(FOREIGN)
        and not PLACEHOLDER.search(text)
    ]
    assert len(paths) > 20
    files = [link.partition("#")[0] for link in links]
    missing = [path for path in files + paths if not (ROOT / path).exists()]
    assert missing == ["jaxseg/models/mine.py"]


def test_every_anchor_exists():
    for page, anchor in re.findall(r"\]\((?!http)([^)#]*)#([^)]+)\)", README):
        prose = (ROOT / page).read_text() if page else PROSE
        headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
        marks = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in marks, (page, anchor)


def test_the_example_of_a_model_is_the_one_that_is_tested():
    (example,) = (text for language, text in BLOCKS if "class Model" in text)
    assert example in (ROOT / "tests/models/test_contract.py").read_text()
