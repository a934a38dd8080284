"""The command as a person uses it: good runs, and mistakes that get one clear line."""

import json
import os
import shutil
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxseg import cli
from jaxseg.cli import allocator

QUICK = ["--config", "configs/quickstart.py:unet,width=4,depth=2"]


def jaxseg(capsys, *argv):
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A run of a few steps, trained by the command itself."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    overrides = {
        "total_steps": 4, "batch_size": 8, "dataset.image_size": "(32, 32)",
        "dataset.train_examples": 16, "dataset.val_examples": 5, "augment.crop_size": "(32, 32)",
        "eval.batch_size": 8, "eval.every": 2, "num_predictions": 2,
    }  # fmt: skip
    argv = [f"--config.{key}={value}" for key, value in overrides.items()]
    assert cli.main(["train", *QUICK, "--workdir", str(folder), *argv]) == 0
    return folder


@pytest.mark.parametrize(
    "argv", [[], ["train"], ["evaluate"], ["predict"], ["report"], ["data"], ["weights"], ["bench"]]
)
def test_help_is_instant_and_shows_an_example(argv):
    command = [sys.executable, "-m", "jaxseg.cli", *argv, "--help"]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        times.append(time.perf_counter() - start)
    assert "Example:\n  jaxseg " in out
    assert min(times) < 0.5


def test_evaluate_writes_what_it_prints(workdir, capsys):
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", workdir, "--step", "latest")
    assert code == 0
    written = json.loads((workdir / "eval/val/4.json").read_text())
    assert written["examples"] == 5
    assert written["step"] == 4
    assert f"{100 * written['iou']['circle']:.2f}" in out
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", workdir, "--split", "train")
    assert code == 0
    assert json.loads(next((workdir / "eval/train").glob("*.json")).read_text())["examples"] == 16


def test_a_run_is_evaluated_and_predicts_with_other_values(workdir, capsys, tmp_path):
    argv = ["--workdir", workdir, "--config.eval.canvas=(48, 64)", "--config.eval.batch_size=5"]
    code, out, err = jaxseg(capsys, "evaluate", *argv)
    assert code == 0
    assert "compiling" not in out  # which is for results
    assert "images 8x48x64x3" in err  # five, and three to fill eight devices
    written = next((workdir / "eval/val").glob("*-eval.canvas=(48,64)-eval.batch_size=5.json"))
    changes = json.loads(written.read_text())["changes"]
    assert changes == ["--config.eval.canvas=(48, 64)", "--config.eval.batch_size=5"]
    Image.new("RGB", (40, 30)).save(tmp_path / "photo.png")
    argv = ["--out", tmp_path / "out", "--config.eval.size_multiple=50", tmp_path / "photo.png"]
    code, out, err = jaxseg(capsys, "predict", "--workdir", workdir, *argv)
    assert code == 0
    assert "images 1x50x50x3" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("eval.size_multipel=64", "the config has no key 'eval.size_multipel'"),
        ("eval.size_multiple=0", "config.eval.size_multiple is 0, expected at least 1"),
        ("model.width=8", "does not fit this config's model"),
        ("augment.flip", "--config.augment.flip has no value: write --config.augment.flip=VALUE"),
    ],
)
def test_values_that_a_run_cannot_take(workdir, capsys, change, message):
    code, _, err = jaxseg(capsys, "evaluate", "--workdir", workdir, f"--config.{change}")
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_evaluate_repeats_the_number_of_training(workdir, capsys):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    trained = {row["step"]: row["val/miou"] for row in rows if "val/miou" in row}
    for step in (2, 4):
        jaxseg(capsys, "evaluate", "--workdir", workdir, "--step", step)
        written = json.loads((workdir / f"eval/val/{step}.json").read_text())
        assert written["miou"] == trained[step]


def test_predict_takes_images_of_any_kind_and_returns_their_size(workdir, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 255, (37, 53, 3), np.uint8))
    colour.save(folder / "colour.jpg")
    colour.convert("L").save(folder / "grey.png")
    colour.convert("P").save(folder / "palette.gif")
    colour.convert("RGBA").save(folder / "alpha.webp")
    Image.fromarray(rng.integers(0, 65535, (5, 3), np.uint16)).save(folder / "deep.tif")
    Image.new("RGB", (1, 1)).save(folder / "one.bmp")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    colour.save(tmp_path / "rotated.jpg", exif=exif)
    out = tmp_path / "out"
    code, said, _ = jaxseg(
        capsys, "predict", "--workdir", workdir, "--out", out, folder, tmp_path / "rotated.jpg"
    )
    assert code == 0
    assert "7 images" in said
    sizes = {"colour": (53, 37), "grey": (53, 37), "palette": (53, 37), "alpha": (53, 37),
             "deep": (3, 5), "one": (1, 1), "rotated": (37, 53)}  # fmt: skip
    for stem, size in sizes.items():
        mask = Image.open(out / f"{stem}.png")
        assert mask.mode == "P"
        assert mask.size == size
        assert np.asarray(mask).max() < 5
        assert Image.open(out / f"{stem}_overlay.png").width >= size[0]


def test_a_users_own_folder_is_prepared_trained_and_predicted(tmp_path, capsys):
    """One command from a folder of pictures to a trained model."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 3)):
        for kind in ("images", "masks"):
            (tmp_path / "mine" / split / kind).mkdir(parents=True)
        for i in range(count):
            mask = np.zeros((40, 48), np.uint8)
            mask[rng.integers(0, 20) :, rng.integers(0, 20) :] = 1
            image = np.stack([mask * 150 + 50] * 3, -1)
            Image.fromarray(image).save(tmp_path / f"mine/{split}/images/{i}.jpg")
            Image.fromarray(mask).save(tmp_path / f"mine/{split}/masks/{i}.png")
    names = {"names": ["ground", "thing"], "colours": [[0, 0, 0], [255, 0, 0]]}
    (tmp_path / "mine/classes.json").write_text(json.dumps(names))
    code, out, err = jaxseg(
        capsys, "train", "--config", "configs/folder.py:unet,width=4,depth=2",
        f"--config.dataset.source={tmp_path / 'mine'}", "--data_dir", tmp_path / "data",
        "--config.total_steps=3", "--config.batch_size=8", "--config.eval.batch_size=8",
        "--config.augment.crop_size=(32, 32)", "--workdir", tmp_path / "run",
    )  # fmt: skip
    assert code == 0, err
    assert "thing" in out
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", tmp_path / "run")
    assert code == 0
    assert "3 images" in out
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "mine").rename(tmp_path / "moved")
    evaluate = ("evaluate", "--workdir", tmp_path / "run", "--data_dir", tmp_path / "data")
    code, _, err = jaxseg(capsys, *evaluate)
    assert code == 2
    assert "say where it is now with --config.dataset.source=DIR" in err
    code, again, _ = jaxseg(capsys, *evaluate, f"--config.dataset.source={tmp_path / 'moved'}")
    assert code == 0
    tables = [text.partition("3 images")[2].partition("written:")[0] for text in (again, out)]
    assert tables[0] == tables[1]


MISTAKES = {
    "command": (["trian"], "no command 'trian'; did you mean 'train'"),
    "no config": (["train", "--workdir", "x"], "train needs --config"),
    "config file": (["train", "--config", "configs/nope.py"], "no config file 'configs/nope.py'"),
    "flag": (["train", *QUICK, "--workdri=x"], "no flag --workdri; did you mean '--workdir'"),
    "no workdir": (["train", *QUICK], "train needs --workdir"),
    "stray word": (["train", *QUICK, "x"], "train takes flags only, got x"),
    "parallel": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.parallel=pjit"],
        "config.parallel is 'pjit'; did you mean",
    ),
    "dtype": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.dtype=float16"],
        "config.dtype is 'float16'; did you mean",
    ),
    "no data": (
        ["train", "--config", "configs/camvid.py", "--workdir", "{tmp}/a", "--data_dir", "{tmp}"],
        "camvid is not prepared in {tmp}; run: jaxseg data prepare camvid --source DIR",
    ),
    "no run": (["evaluate", "--workdir", "{tmp}"], "{tmp} is not a run: it has no config.json"),
    "no image": (
        ["predict", "--workdir", "{tmp}", "--out", "o", "a.jpg"],
        "no file or folder 'a.jpg'",
    ),
    "data action": (["data", "prepra"], "expected prepare, show or stats, got 'prepra'"),
    "data set": (
        ["data", "prepare", "camvd", "--source", "{tmp}"],
        "unknown data set 'camvd'; did you mean 'camvid'",
    ),
    "no source": (["data", "prepare", "camvid"], "data prepare needs --source"),
    "source": (["data", "prepare", "camvid", "--source", "{tmp}/x"], "no such folder"),
    "weights action": (["weights", "inspct"], "expected inspect or convert, got 'inspct'"),
    "no weights": (["weights", "inspect"], "weights inspect: expected one SOURCE, got none"),
    "weights file": (["weights", "inspect", "{tmp}/x.pth"], "no weights '{tmp}/x.pth': expected a"),
    "weights folder": (["weights", "inspect", "{tmp}"], "{tmp} is not a run"),
    "weights config": (
        ["weights", "convert", "x.pth", "--workdir", "{tmp}/a"],
        "weights convert needs --config",
    ),
    "init_from": (
        ["train", *QUICK, "--workdir", "{tmp}/a", "--config.init_from={tmp}/x.pth"],
        "no weights '{tmp}/x.pth': expected a file, the folder of a run",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line_and_exit_code_2(mistake, tmp_path, capsys):
    argv, message = MISTAKES[mistake]
    code, out, err = jaxseg(capsys, *[word.replace("{tmp}", str(tmp_path)) for word in argv])
    assert code == 2
    assert out == ""
    assert err.startswith("jaxseg: error: ")
    assert message.replace("{tmp}", str(tmp_path)) in err
    assert err.count("\n") == 1


TOGETHER = ("--coordinator_address=localhost:1", "--num_processes=2", "--process_id=0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (TOGETHER[:2], "but no --process_id: give all three, or --distributed"),
        (("--coordinator_address=here", *TOGETHER[1:]), "expected HOST:PORT of the first process"),
        ((*TOGETHER[:2], "--process_id=2"), "--process_id=2 of --num_processes=2, expected one of"),
        ((*TOGETHER[:1], "--num_processes=0", "--process_id=0"), "--num_processes=0, expected at"),
    ],
)
def test_processes_that_can_not_find_each_other(words, message, tmp_path, capsys):
    code, out, err = jaxseg(capsys, "train", *QUICK, "--workdir", tmp_path, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_an_error_of_the_system_without_words_gets_the_words_it_has(monkeypatch, capsys):
    def fail(argv):
        raise OSError("image file is truncated")

    monkeypatch.setitem(cli.COMMANDS, "train", fail)
    assert jaxseg(capsys, "train") == (2, "", "jaxseg: error: image file is truncated\n")


def test_a_full_disk_gets_one_line(tmp_path):
    """Files of at most 40 KB are one to whoever writes: hundreds of arrays fail at once."""
    small = {
        "total_steps": 3, "checkpoint.every": 1, "batch_size": 4, "dataset.image_size": "(32, 32)",
        "dataset.train_examples": 10, "dataset.val_examples": 4, "augment.crop_size": "(32, 32)",
    }  # fmt: skip
    flags = [f"--config.{key}={value}" for key, value in small.items()]
    words = [sys.executable, "-m", "jaxseg.cli", "train", *QUICK, "--workdir", str(tmp_path)]
    limit = ("bash", "-c", 'ulimit -f 40; exec "$@"', "bash")
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [*limit, *words, *flags], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Event loop" not in done.stderr
    assert "never retrieved" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("jaxseg: error: ")
    assert "(File too large): make room" in done.stderr


def test_weights_inspect_shows_every_entry_and_what_it_is(tmp_path, capsys):
    blocks = {f"layer{s}.{b}.conv{i}" for s in range(1, 5) for b in (0, 1) for i in (1, 2)}
    names = [f"{name}.weight" for name in ("conv1", "fc", "queer.layer", *sorted(blocks))]
    entries: Any = {name: np.ones((2, 3, 1, 1), np.float32) for name in names}
    entries["bn1.num_batches_tracked"] = np.array(1)
    np.savez(tmp_path / "w.npz", **entries)
    code, out, _ = jaxseg(capsys, "weights", "inspect", tmp_path / "w.npz")
    assert code == 0
    assert "resnet18" in out
    assert "classifier,backbone=resnet18" in out
    assert '--config.dataset.mean="(123.675,116.28,103.53)"' in out
    table = out.partition("\n\n")[2].splitlines()
    rows = {row.split()[0]: row.split(maxsplit=3)[1:] for row in table}
    assert rows["conv1.weight"] == ["2x3x1x1", "float32", "params/encoder/stem_conv/kernel"]
    assert rows["queer.layer.weight"][2] == "(not recognised)"
    assert rows["bn1.num_batches_tracked"] == ["-", "int64", "(not used)"]


def test_weights_of_no_known_family_are_shown_and_refused(tmp_path, capsys):
    np.savez(tmp_path / "w.npz", my_layer=np.ones(3))
    code, out, err = jaxseg(capsys, "weights", "inspect", tmp_path / "w.npz")
    assert code == 2
    assert "my_layer  3      float32  (not recognised)" in out
    assert "1 entries, such as my_layer, are of no known family; known: Keras applications" in err
    assert err.count("\n") == 1


def test_weights_convert_makes_a_run_of_a_source(workdir, tmp_path, capsys):
    """It predicts as the source does; and no run is overwritten."""
    overrides = [
        "--config.dataset.image_size=(32, 32)",
        "--config.augment.crop_size=(32, 32)",
        "--config.eval.batch_size=8",
        "--config.dataset.val_examples=5",
    ]
    convert = ["weights", "convert", f"{workdir}@4", *QUICK, *overrides, "--workdir"]
    code, out, err = jaxseg(capsys, *convert, tmp_path / "run")
    assert code == 0, err
    assert "entries imported" in out
    code, out, _ = jaxseg(capsys, "evaluate", "--workdir", tmp_path / "run")
    assert code == 0
    jaxseg(capsys, "evaluate", "--workdir", workdir, "--step", 4)
    paths = (tmp_path / "run/eval/val/0.json", workdir / "eval/val/4.json")
    scores = [json.loads(path.read_text()) for path in paths]
    assert scores[0]["confusion"] == scores[1]["confusion"]
    code, _, err = jaxseg(capsys, *convert, tmp_path / "run")
    assert code == 2
    assert "holds a run already" in err


def test_output_may_be_cut_by_who_reads_it(workdir):
    """`jaxseg weights inspect ... | head` is no error."""
    command = f"{sys.executable} -m jaxseg.cli weights inspect {workdir} | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert "unet of" in done.stdout
    assert done.stderr == ""


def test_a_broken_image_is_named(workdir, tmp_path, capsys):
    (tmp_path / "empty.jpg").write_bytes(b"")
    code, _, err = jaxseg(
        capsys, "predict", "--workdir", workdir, "--out", tmp_path / "o", tmp_path / "empty.jpg"
    )
    assert code == 2
    assert "empty.jpg" in err
    assert err.count("\n") == 1


def test_data_show_and_stats(tmp_path, capsys):
    code, _, _ = jaxseg(capsys, "data", "show", *QUICK, "--out", tmp_path / "grid.png")
    assert code == 0
    assert Image.open(tmp_path / "grid.png").width > 500
    code, out, _ = jaxseg(capsys, "data", "stats", *QUICK, "--config.dataset.train_examples=5")
    assert code == 0
    assert "5 images" in out
    assert "class_weights" in out


MADVISE = "always [madvise] never"
KEEP = ":".join(
    f"glibc.malloc.{key}"
    for key in ("mmap_threshold=268435456", "trim_threshold=2147483648", "arena_max=1")
)
HUGE = f"{KEEP}:glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    ("before", "libc", "huge_pages", "after"),
    [
        (None, "glibc 2.36", MADVISE, HUGE),
        ("glibc.rtld.nns=3", "glibc 2.41", MADVISE, f"glibc.rtld.nns=3:{HUGE}"),
        ("glibc.malloc.hugetlb=0", "glibc 2.36", MADVISE, None),  # somebody decided
        (HUGE, "glibc 2.36", MADVISE, None),
        (None, "glibc 2.36", "[always] madvise never", KEEP),
        (None, "glibc 2.36", "always madvise [never]", KEEP),
        (None, "glibc 2.36", "", KEEP),  # no such file
        (None, "glibc 2.31", MADVISE, None),
        (None, "", MADVISE, None),
    ],
)
def test_the_allocator_keeps_memory_and_uses_huge_pages(before, libc, huge_pages, after):
    environment = {} if before is None else {"GLIBC_TUNABLES": before}
    assert allocator.wanted(environment, libc, huge_pages) == after


HERE = allocator.wanted({}, allocator.libc(), allocator.huge_pages())
glibc = pytest.mark.skipif(HERE is None, reason="another C library, or an old one")


@glibc
def test_memory_that_was_freed_is_not_fetched_again():
    """200 MB in a thread of its own, as XLA's threads allocate them, five times over."""
    source = """
import resource, threading
import numpy as np

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=lambda: np.ones(25_000_000))
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(*(faults() for _ in range(5)))
"""
    fetched = {}
    for tunables in ("", HERE):
        environment = {**os.environ, "GLIBC_TUNABLES": tunables}
        words = [sys.executable, "-c", source]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
        fetched[tunables] = [int(word) for word in done.stdout.split()]
    assert max(fetched[HERE][1:]) < 100  # 100 huge pages, or 49,000 of 4 KB
    assert min(fetched[""]) >= 128


@glibc
def test_the_program_starts_anew_once_and_stays_itself(tmp_path):
    """The same process with the same words and input; a program of somebody else's does not."""
    source = """
import os, sys
print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), *sys.argv[1:], flush=True)
from jaxseg import cli
code = cli.main()
print(sys.stdin.read(), code)
"""
    for name in ("jaxseg", "other"):
        (tmp_path / name).write_text(source)
    environment = {k: v for k, v in os.environ.items() if k != "GLIBC_TUNABLES"}

    def run(name, *words, **variables):
        done = subprocess.run(
            [sys.executable, str(tmp_path / name), *words], input="hello", text=True,
            env={**environment, **variables}, capture_output=True, check=True,
        )  # fmt: skip
        assert "train takes flags only, got a b" in done.stderr or words == ()
        return done.stdout.splitlines()

    first, second, end = run("jaxseg", "train", "a b")
    pid = first.split()[0]
    assert first == f"{pid} None train a b"
    assert second == f"{pid} {HERE} train a b"
    assert end == "hello 2"
    assert len(run("jaxseg", "train", "a b", GLIBC_TUNABLES="glibc.malloc.hugetlb=0")) == 2
    assert len(run("other", "train", "a b")) == 2
    assert len([line for line in run("jaxseg") if "None" in line]) == 1
