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
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from tests.support.patience import PATIENCE_S
from tests.support.scenes import (
    CIRCLE,
    HEIGHT,
    SECOND_CIRCLE,
    SQUARE,
    WIDTH,
    centre,
    drawn,
    mask_iou,
    numbered,
    scene,
)

CONCEPTS, CLICKS = "segment_anything_3", "segment_anything_3_clicks"
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
    until(lambda: models.count() == 2, app)
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
    picture, fresh = folder / "scene.png", folder / "fresh.png"
    scene().save(picture)
    fresh.write_bytes(numbered(980))
    found = window(app, url, key, str(picture), folder) | client(str(picture), str(fresh))
    print(json.dumps(found), flush=True)
    os._exit(0)  # its threads end with it


if __name__ == "__main__":
    main(*sys.argv[1:])
