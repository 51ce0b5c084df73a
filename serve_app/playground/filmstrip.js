/** The row of opened images as a strip of small pictures below the stage. */

import { byId, element, keyed, setText } from "./dom.js";

const SMALL = { width: 64, height: 44 };

/** open(entry): called when one is chosen. */
export function filmstrip(album, open) {
  const list = byId("row-images");
  const pictures = thumbnails();
  const create = (entry) => {
    const canvas = element("canvas", { "aria-hidden": "true", width: SMALL.width * 2, height: SMALL.height * 2 });
    pictures(entry, canvas);
    return element("li", {}, element("button", { type: "button", title: entry.name, click: () => open(entry) }, canvas, element("span", { class: "unseen" }, entry.name)));
  };
  let shown = null;
  return () => {
    const { entries, current, position } = album;
    byId("row").hidden = entries.length < 2;
    byId("previous").disabled = position <= 0;
    byId("next").disabled = position >= entries.length - 1;
    setText(byId("row-place"), current ? `${position + 1} of ${entries.length}` : "");
    if (shown && shown[0] === entries && shown[1] === current) return;
    shown = [entries, current];
    keyed(list, entries, ({ digest }) => digest, create, (row, entry) => {
      if (entry === current) row.firstChild.setAttribute("aria-current", "true");
      else row.firstChild.removeAttribute("aria-current");
    });
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  };
}

/** Draws small pictures one after the other, so that many images do not hold the page up. */
function thumbnails() {
  let last = Promise.resolve();
  return ({ file, name }, canvas) => {
    if (!file) return label(canvas, "link");
    last = last.then(async () => {
      try {
        const bitmap = await createImageBitmap(file, { resizeHeight: canvas.height, resizeQuality: "medium" });
        const context = canvas.getContext("2d");
        context.drawImage(bitmap, (canvas.width - bitmap.width) / 2, 0);
        bitmap.close();
      } catch {
        label(canvas, name.split(".").pop()); // the server shows this file (TIFF)
      }
    });
  };
}

function label(canvas, text) {
  const context = canvas.getContext("2d");
  context.fillStyle = "#7c8092";
  context.font = "600 26px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(text.slice(0, 6).toUpperCase(), canvas.width / 2, canvas.height / 2);
}
