"""Which images a command line names, and that no result takes the place of anything else."""

import itertools
import os
from pathlib import Path

import pytest

from jaxseg.errors import UserError
from jaxseg.prediction.paths import Found, find, targets

ENDINGS = (".png", "_overlay.png")


@pytest.fixture
def tree(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def named(paths, out, endings=ENDINGS):
    """What is written for each image, relative to `out`; checks what always holds."""
    images = find([str(path) for path in paths], out).found
    chosen = targets(images, out, endings)
    written = [Path(f"{target}{ending}") for target in chosen for ending in endings]
    assert len(set(written)) == len(written)
    assert not {path.resolve() for path in written} & {image.path.resolve() for image in images}
    assert all(out in path.parents for path in written)
    pairs = zip(images, chosen, strict=True)
    return {str(image.path): str(target.relative_to(out)) for image, target in pairs}


def test_subfolders_are_mirrored(tree):
    root = tree("in/a.jpg", "in/x/a.jpg", "in/x/y/b.tif", "c.JPG")
    assert named([root / "in", root / "c.JPG"], root / "out") == {
        f"{root}/in/a.jpg": "a",
        f"{root}/in/x/a.jpg": "x/a",
        f"{root}/in/x/y/b.tif": "x/y/b",
        f"{root}/c.JPG": "c",
    }


def test_images_of_one_name_keep_their_suffix(tree):
    root = tree("in/a.jpg", "in/a.png", "in/b.jpg")
    assert list(named([root / "in"], root / "out").values()) == ["a.jpg", "a.png", "b"]
    assert list(named([root / "in/a.png"], root / "out").values()) == ["a"]


def test_an_overlay_is_not_the_mask_of_another(tree):
    root = tree("in/b.jpg", "in/b_overlay.jpg", "in/b_overlay_overlay.jpg")
    assert list(named([root / "in"], root / "out").values()) == [
        "b.jpg", "b_overlay.jpg", "b_overlay_overlay.jpg",
    ]  # fmt: skip


def test_a_class_may_have_the_name_of_an_image(tree):
    root = tree("in/a.jpg", "in/a_road.jpg")
    endings = (*ENDINGS, "_road.png")
    assert list(named([root / "in"], root / "out", endings).values()) == ["a.jpg", "a_road.jpg"]


def test_folders_with_equal_names_in_them_are_told_apart(tree):
    root = tree("x/a.jpg", "x/b.jpg", "y/a.jpg", "p/in/c.jpg", "q/in/c.jpg")
    assert named([root / "x", root / "y", root / "p/in", root / "q/in"], root / "out") == {
        f"{root}/x/a.jpg": "x/a.jpg",
        f"{root}/x/b.jpg": "b",
        f"{root}/y/a.jpg": "y/a.jpg",
        f"{root}/p/in/c.jpg": "p/in/c.jpg",
        f"{root}/q/in/c.jpg": "q/in/c.jpg",
    }


def test_names_do_not_depend_on_the_order(tree):
    root = tree("x/a.jpg", "x/a.png", "y/a.jpg")
    paths = [root / "x/a.jpg", root / "x/a.png", root / "y/a.jpg"]
    found = [named(order, root / "out") for order in itertools.permutations(paths)]
    assert all(names == found[0] for names in found)


def test_results_beside_the_images_overwrite_none(tree):
    root = tree("a.png", "a.png.png", "b.jpg")
    found = named([root / "a.png", root / "a.png.png", root / "b.jpg"], root)
    assert found[f"{root}/b.jpg"] == "b"
    assert found[f"{root}/a.png"].endswith(f"{root.name}/a.png")


def test_where_nothing_helps_the_command_refuses(tmp_path):
    """The root of the file system is no place for results, but there every image is its own."""
    image = Path("/a.png")
    with pytest.raises(UserError, match="take the place of an image: choose another --out"):
        targets([Found(image, Path("a.png")), Found(Path("/a.png.png"), Path("a.png.png"))],
                Path("/"), ENDINGS)  # fmt: skip


def test_what_is_no_image_is_counted(tree):
    root = tree("in/a.jpg", "in/notes.txt", "in/.DS_Store", "in/.git/b.jpg", "in/x/Thumbs.db")
    images = find([str(root / "in")], root / "out")
    assert [image.path.name for image in images.found] == ["a.jpg"]
    assert images.passed_over() == "2 that are no images and 2 hidden"
    assert find([str(root / "in/a.jpg")], root / "out").passed_over() == ""
    assert find([str(root / "in/notes.txt")], root / "out").found  # named: it is tried


def test_earlier_results_are_no_images(tree):
    root = tree("in/a.jpg", "in/masks/a.png", "in/masks/a_overlay.png", "in/x/b.jpg")
    assert list(named([root / "in"], root / "in/masks").values()) == ["a", "x/b"]


def test_an_image_counts_once(tree):
    root = tree("in/a.jpg", "in/x/b.jpg")
    (root / "in/link.jpg").symlink_to("a.jpg")
    paths = [root / "in/a.jpg", root / "in", root / "in/x", root / "in/x/../a.jpg"]
    assert len(named(paths, root / "out")) == 2


def test_links_to_folders_are_followed_but_in_no_circle(tree):
    root = tree("data/a.jpg", "in/b.jpg")
    (root / "in/more").symlink_to(root / "data")
    (root / "in/again").symlink_to(root / "in")
    assert list(named([root / "in"], root / "out").values()) == ["b", "more/a"]


@pytest.mark.parametrize(
    ("paths", "out", "message"),
    [
        ([], "out", "no images given"),
        (["a.jpg", "b.jpg"], "out", "no file or folder '.*b.jpg'"),
        (["empty"], "out", "no images in .*empty or its subfolders"),
        (["in"], "in", "--out .*in is a folder of images itself"),
    ],
)
def test_what_can_not_be_is_refused(paths, out, message, tree):
    root = tree("a.jpg", "in/a.jpg", "empty/notes.txt")
    with pytest.raises(UserError, match=message):
        find([str(root / path) for path in paths], root / out)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_can_not_be_read_is_an_error(tree):
    root = tree("in/a.jpg", "in/x/b.jpg")
    (root / "in/x").chmod(0)
    with pytest.raises(PermissionError):
        find([str(root / "in")], root / "out")
