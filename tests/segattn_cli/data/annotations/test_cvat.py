"""CVAT's XML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from segattn_cli.errors import DataError

LABELS = (
    "<label><name>road</name><color>#010203</color></label><label><name>car</name></label>"
    "<label><name>nose</name><parent>face</parent></label>"
)
CAR = '<polygon label="car" points="1.00,0.00;4.00,0.00;4.00,3.00;1.00,3.00" z_order="0"/>'
ROAD = '<box label="road" xtl="0" ytl="0" xbr="6" ybr="2" z_order="{}"/>'


@pytest.fixture
def save(tmp_path: Path, save_image: Callable) -> Callable[..., Path]:
    """``save(shapes)``: put ``images/a.png`` and ``annotations.xml`` with these shapes into a source."""

    def run(shapes: str = CAR, image: str = 'name="a.png" width="6" height="4"', more: str = "") -> Path:
        save_image(tmp_path / "source" / "images" / "a.png")
        (tmp_path / "source" / "annotations.xml").write_text(
            f'<?xml version="1.0" encoding="utf-8"?><annotations><meta><job><labels>{LABELS}</labels></job></meta>'
            f'<image id="0" {image}>{shapes}</image>{more}</annotations>'
        )
        return tmp_path / "source"

    return run


def test_classes_are_in_the_order_of_the_task_and_in_its_colours(save: Callable, import_from: Callable) -> None:
    imported = import_from(save())
    assert imported.classes == ("background", "road", "car")
    assert imported.plan.classes.palette[:2].tolist() == [[0, 0, 0], [1, 2, 3]]
    assert imported.labels["a"].tolist() == [[0, 2, 2, 2, 0, 0]] * 3 + [[0] * 6]


@pytest.mark.parametrize(("level", "above"), [(-1, 2), (0, 1), (3, 1)])
def test_shapes_lie_as_their_z_order_says(save: Callable, import_from: Callable, level: int, above: int) -> None:
    label = import_from(save(CAR + ROAD.format(level))).labels["a"]
    assert label[0].tolist() == [1, above, above, above, 1, 1]


def test_masks_ellipses_and_turned_boxes(save: Callable, import_from: Callable) -> None:
    shapes = (
        '<mask label="car" rle="1, 1, 1, 1" left="4" top="2" width="2" height="2"/>'
        '<ellipse label="road" cx="1" cy="1" rx="1" ry="1"/>'
        '<box label="car" xtl="2" ytl="1" xbr="6" ybr="2" rotation="90.00"/>'
    )
    label = import_from(save(shapes)).labels["a"]
    assert label.tolist() == [[1, 1, 0, 2, 0, 0], [1, 1, 0, 2, 0, 0], [0, 0, 0, 2, 0, 2], [0, 0, 0, 0, 0, 2]]


def test_what_encloses_nothing_is_counted(save: Callable, import_from: Callable) -> None:
    shapes = '<polyline label="car" points="0,0;1,1"/><points label="car" points="0,0"/><tag label="road"/>'
    assert import_from(save(CAR + shapes)).noted("polylines, points, cuboids").count == 2


def test_labels_that_the_task_lacks_become_255(save: Callable, import_from: Callable) -> None:
    imported = import_from(save(CAR + CAR.replace('"car"', '"tram"')))
    assert (imported.labels["a"][:3, 1:4] == 255).all()
    assert imported.noted("the list of classes lacks").places == ["'tram'"]


def test_subsets_are_splits(save: Callable, import_from: Callable, save_image: Callable) -> None:
    more = f'<image name="b.png" subset="Validation" width="6" height="4">{CAR}</image>'
    source = save(image='name="a.png" subset="Train" width="6" height="4"', more=more)
    save_image(source / "images" / "b.png")
    imported = import_from(source)
    assert imported.splits == {"a": "train", "b": "val"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"shapes": CAR.replace("4.00,3.00", "4.00")}, "whose points are not 'x,y;x,y;…'"),
        ({"shapes": CAR.replace("4.00,3.00", "4.00,nan")}, "a.png in .* has 'nan' in place of a number"),
        ({"shapes": CAR.replace("4.00,3.00", "4.00,1e300")}, "'1e300' in place of a number"),
        ({"shapes": '<box label="car" xtl="0"/>'}, "has '' in place of a number"),
        ({"shapes": "<star/>"}, "unknown kind <star>"),
        ({"image": 'name="a.png" width="six" height="4"'}, "'six' in place of a number"),
        ({"image": 'name="../../secret.png" width="6" height="4"'}, r"names the image \.\./\.\./secret.png"),
        ({"more": '<track id="0" label="car"/>'}, "tracks of a video"),
        ({"shapes": '<mask label="car" rle="1,2" left="0" top="0" width="99" height="9"/>'}, "does not fit"),
    ],
)
def test_what_cannot_be_used(
    save: Callable, import_from: Callable, content: dict[str, str], sentence: str
) -> None:
    with pytest.raises(DataError, match=sentence):
        import_from(save(**content))


def test_a_colour_that_is_none_is_left_to_the_palette(save: Callable, import_from: Callable) -> None:
    source = save()
    path = source / "annotations.xml"
    path.write_text(path.read_text().replace("#010203", "#orange"))
    assert import_from(source).classes == ("background", "road", "car")
