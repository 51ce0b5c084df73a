"""X-AnyLabeling itself without a screen, run by the Python of an environment that has it.

    python -m tests.support.x_anylabeling_driver FOLDER URL [KEY]

Its window is worked as a person would: the address and the key are typed into its dialog, a phrase is sent, a click is
made on the picture. Then its client class asks for phrases, example rectangles, clicks and boxes. FOLDER is
the program's home; a picture of the window is left there. Prints the IoU of shapes with what was drawn, and the seconds
of a first and a second click, as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tests.support.clips import RADIUS, blue_at, picture, red_at
from tests.support.patience import PATIENCE_S
from tests.support.scenes import (
    CIRCLE,
    HEIGHT,
    SECOND_CIRCLE,
    SQUARE,
    WIDTH,
    box_iou,
    centre,
    drawn,
    mask_iou,
    numbered,
    scene,
)

CONCEPTS, CLICKS, VIDEO = "segment_anything_3", "segment_anything_3_clicks", "segment_anything_3_video"
FRAMES = 5
Mask = npt.NDArray[np.bool_]


RED, BLUE = drawn("red"), drawn("blue")
FIRST = RED & (np.arange(HEIGHT)[:, None] < SECOND_CIRCLE[1])


def filled(shapes: Any) -> Mask:
    """The pixels of the program's shapes."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    for shape in shapes:
        points = np.array([(point.x(), point.y()) for point in shape.points]) - 0.5
        cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask.astype(np.bool_)


def iou(shapes: Any, truth: Mask) -> float:
    return mask_iou(filled(shapes), truth)


def mark(kind: str, data: Any, label: int = 1) -> dict[str, Any]:
    return {"type": kind, "data": list(data), "label": label}


def client(picture: str, fresh: str) -> dict[str, Any]:
    """What its `RemoteServer` makes of the server's answers, with the address and key that the window has kept.

    fresh: an image file that the server does not know yet.
    """
    from anylabeling.services.auto_labeling.remote_server import RemoteServer
    from PyQt6.QtGui import QImage

    said: list[str] = []
    one = RemoteServer({"type": "remote_server", "display_name": "remote", "timeout": 180}, said.append)
    models = list(one.get_available_models())

    def ask(model: str, *marks: dict[str, Any], text: str | None = None, path: str = picture) -> Any:
        one.set_model_id(model)
        one.set_auto_labeling_conf(0.5)
        one.set_auto_labeling_marks(list(marks))
        return one.predict_shapes(QImage(path), path, text_prompt=text)

    phrases = ask(CONCEPTS, text="red circle, blue square.")
    example = ask(CONCEPTS, mark("rectangle", CIRCLE))
    unlike = ask(CONCEPTS, mark("rectangle", CIRCLE), mark("rectangle", SECOND_CIRCLE, 0))
    seconds = [time.perf_counter()]
    click = ask(CLICKS, mark("point", centre(SQUARE)), path=fresh)
    seconds.append(time.perf_counter())
    refined = ask(CLICKS, mark("point", centre(SQUARE)), mark("point", (5, 5), 0), path=fresh)
    seconds.append(time.perf_counter())
    box = ask(CLICKS, mark("rectangle", CIRCLE))
    assert said == [], said
    one.headers["Token"] = "wrong"
    of_a_stranger = len(ask(CLICKS, mark("point", centre(SQUARE))).shapes)
    return {
        "models": models,
        "labels": [shape.label for shape in phrases.shapes],
        "phrases": [iou(phrases.shapes[:2], RED), iou(phrases.shapes[2:], BLUE)],
        "example": iou(example.shapes, RED),
        "unlike": len(unlike.shapes),
        "click": iou(click.shapes, BLUE),
        "refined": iou(refined.shapes, BLUE),
        "box": iou(box.shapes, FIRST),
        "seconds": np.diff(seconds).tolist(),
        "replace": [phrases.replace, click.replace],
        "stranger": [one.get_available_models(), of_a_stranger, said],
    }


def video(folder: Path) -> dict[str, Any]:
    """What its `RemoteServer` saves of a drawn clip, after a phrase and after a click. Its window is played, which
    knows the files and saves the shapes."""
    from anylabeling.services.auto_labeling.remote_server import RemoteServer
    from anylabeling.views.labeling.utils import batch
    from PyQt6.QtGui import QImage

    files = [folder / f"frame-{number}.png" for number in range(FRAMES)]
    for number, file in enumerate(files):
        file.write_bytes(picture(number))
    said: list[str] = []
    saved: dict[str, Any] = {}
    batch.save_auto_labeling_result = lambda _, file, result: saved.update({file: result.shapes})
    one = RemoteServer({"type": "remote_server", "display_name": "remote", "timeout": 180}, said.append)
    one._widget = SimpleNamespace(image_list=[str(file) for file in files])
    one.get_available_models()
    one.set_model_id(VIDEO)
    one.set_auto_labeling_conf(0.5)

    def ask(number: int, **words: Any) -> Any:
        path = str(files[number])
        return one.predict_shapes(QImage(path), path, **words).shapes

    def of_saved(first: int, at: Callable[[int], tuple[int, int]]) -> float:
        assert list(saved) == [str(file) for file in files[first:]], said
        return min(_box_iou(saved[str(files[number])], at(number)) for number in range(first, FRAMES))

    prompted = _box_iou(ask(0, text_prompt="red circle"), red_at(0))
    ask(0, run_tracker=True)
    phrase, labels = of_saved(0, red_at), {shape.label for shapes in saved.values() for shape in shapes}
    saved.clear()
    one.set_auto_labeling_marks([mark("point", blue_at(1))])
    seconds = [time.perf_counter()]
    clicked = _box_iou(ask(1), blue_at(1))
    seconds.append(time.perf_counter())
    one.set_auto_labeling_marks([mark("point", blue_at(1)), mark("point", (5, 5), 0)])
    refined = _box_iou(ask(1), blue_at(1))
    seconds.append(time.perf_counter())
    one.set_auto_labeling_marks([])
    ask(1, run_tracker=True)
    click = of_saved(1, blue_at)
    session = one.video_session_id
    one._reset_video_session()
    return {
        "labels": sorted(labels),
        "iou": min(prompted, phrase, clicked, refined, click),
        "seconds": np.diff(seconds).tolist(),
        "ended": bool(session) and one.video_session_id is None,
        "said": [text for text in said if "error" in text.lower() or "fail" in text.lower()],
    }


def _box_iou(shapes: Any, place: tuple[int, int]) -> float:
    """Of the box around shapes, and that of the clip's shape at this place."""
    points = np.array([(point.x(), point.y()) for shape in shapes for point in shape.points])
    x, y = place
    around = (x - RADIUS, y - RADIUS, x + RADIUS + 1, y + RADIUS + 1)
    return box_iou([*points.min(axis=0), *points.max(axis=0)], around)


def until(done: Callable[[], Any], app: Any) -> None:
    """Let the program work until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end, "nothing happened"
        app.processEvents()
        time.sleep(0.01)


def window(app: Any, url: str, key: str, picture: str, folder: Path) -> dict[str, Any]:
    """Phrases and a click in the program's window."""
    from anylabeling.config import get_config
    from anylabeling.views.labeling.widgets.remote_server_dialog import RemoteServerDialog
    from anylabeling.views.mainwindow import MainWindow
    from PyQt6.QtCore import QPointF, Qt, QTimer
    from PyQt6.QtTest import QTest

    left = Qt.MouseButton.LeftButton
    main = MainWindow(app, config=get_config(), filename=picture)
    main.resize(1280, 760)
    main.show()
    view = main.labeling_widget.view
    tools, canvas = view.auto_labeling_widget, view.canvas
    until(lambda: view.filename, app)
    view.toggle_auto_labeling_widget()

    def type_in() -> None:
        dialog = app.activeModalWidget()
        if not isinstance(dialog, RemoteServerDialog):
            QTimer.singleShot(50, type_in)
            return
        for field, text in ((dialog.url_input, url), (dialog.api_key_input, key)):
            field.clear()
            QTest.keyClicks(field, text)
        dialog.accept()

    def answered(label: str) -> Any:
        """The shapes of this label, once there are any and the program is at rest."""
        until(
            lambda: tools.button_clear.isEnabled() and any(one.label == label for one in canvas.shapes), app
        )
        return [one for one in canvas.shapes if one.label == label]

    QTimer.singleShot(0, type_in)
    (remote,) = [name for name in tools.model_info if name.startswith("remote_server")]
    tools.on_model_selected("CVHub", remote)
    models = tools.remote_server_select_combobox
    until(lambda: models.count() == 3, app)
    shown = [name for name in tools.supported_remote_widgets if getattr(tools, name).isVisible()]
    confidence = tools.edit_conf.value()

    tools.edit_text.setText("red circle")
    QTest.mouseClick(tools.button_send, left)
    red = iou(answered("red circle"), RED)

    models.setCurrentIndex(1)
    QTest.mouseClick(tools.button_add_point, left)
    place = ((QPointF(*centre(SQUARE)) + canvas.offset_to_center()) * canvas.scale).toPoint()
    QTest.mouseMove(canvas, place)
    QTest.mouseClick(canvas, left, pos=place)
    clicked = answered("AUTOLABEL_OBJECT")
    QTest.mouseMove(canvas, place * 0.1)
    for _ in range(20):
        app.processEvents()
        time.sleep(0.02)
    main.grab().save(str(folder / "window.png"))
    kept = [one for one in canvas.shapes if one.label == "red circle"]
    return {
        "shown": shown,
        "confidence": confidence,
        "sent": red,
        "clicked": iou(clicked, BLUE),
        "kept": len(kept),
    }


def main(home: str, url: str, key: str = "") -> None:
    """Print what the program makes of the server."""
    os.environ |= {"QT_QPA_PLATFORM": "offscreen", "HOME": home}
    from anylabeling import config
    from anylabeling.resources import resources  # noqa: F401 - its pictures and texts
    from PyQt6 import QtCore, QtWidgets

    folder = Path(home)
    config.set_work_directory(home)
    config.current_config_file = str(folder / ".xanylabelingrc")
    QtCore.QCoreApplication.setAttribute(QtCore.Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    app = QtWidgets.QApplication([])
    one, fresh = folder / "scene.png", folder / "fresh.png"
    scene().save(one)
    fresh.write_bytes(numbered(980))
    found = window(app, url, key, str(one), folder) | client(str(one), str(fresh))
    found |= {"video": video(folder)}
    print(json.dumps(found), flush=True)
    os._exit(0)  # its threads end with it


if __name__ == "__main__":
    main(*sys.argv[1:])
