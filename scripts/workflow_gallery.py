"""Run the workflows of docs/workflows.md on a server and write the pictures below them.

    python -m scripts.workflow_gallery http://localhost:9001

A JSON block of the document with a picture below it is a workflow; its output `output` is the picture.
"""

import base64
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

from inference_sdk import InferenceHTTPClient
from PIL import Image

DOCS = Path(__file__).resolve().parent.parent / "docs"
SHAPES = DOCS / "images/shapes.jpg"
BLOCK = re.compile(r"^```json\n(?P<json>.*?)^```$(?:\n\n!\[[^\]]*\]\((?P<picture>[^)]+)\))?", re.M | re.S)
WIDTH = 480
"""Width of the pictures, in pixels."""


def workflows() -> list[tuple[dict[str, Any], str | None]]:
    """The document's workflows, each with its picture's path from docs/."""
    text = (DOCS / "workflows.md").read_text(encoding="utf-8")
    return [(json.loads(found["json"]), found["picture"]) for found in BLOCK.finditer(text)]


def main() -> int:
    client = InferenceHTTPClient(api_url=sys.argv[1])
    for specification, path in workflows():
        if path is None:
            continue
        (result,) = client.run_workflow(specification=specification, images={"image": str(SHAPES)})
        picture = Image.open(io.BytesIO(base64.b64decode(result["output"]))).convert("RGB")
        picture.thumbnail((WIDTH, WIDTH))
        picture.save(DOCS / path, quality=80, optimize=True)
        print(f"{path}: {', '.join(sorted(result))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
