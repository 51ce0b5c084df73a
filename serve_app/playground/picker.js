/** Lets users choose, drop, paste or link images, or take a sample. Also the pane that offers this. */

import { byId } from "./dom.js";
import { fromFile, fromLink, fromSample, imagesIn } from "./images.js";
import { isTyping } from "./keyboard.js";

/**
 * on.open(entries): takes promises of images, of which the first is shown; on.refused(message): called for files that
 * are no images; on.elsewhere(transfer): true if something else on the page takes what was dropped or pasted.
 */
export function imagePicker(assets, on) {
  const pane = byId("picker");
  const file = byId("file");
  byId("choose").addEventListener("click", () => file.click());
  file.addEventListener("change", () => {
    on.open([...file.files].map((one) => fromFile(one, one.name)));
    file.value = "";
  });
  byId("link-form").addEventListener("submit", (event) => {
    event.preventDefault();
    on.open([fromLink(byId("link").value)]);
  });
  byId("samples").addEventListener("click", (event) => {
    const sample = event.target.closest("[data-sample]");
    if (sample) on.open([fromSample(assets, sample.dataset.sample)]);
  });
  listenToDrops(on);
  document.addEventListener("paste", (event) => {
    if (isTyping(event.target) && !event.clipboardData?.files.length) return; // text goes into the field
    take(event.clipboardData, on);
  });
  return {
    show: (closable) => {
      pane.hidden = false;
      byId("picker-close").hidden = !closable;
      byId("choose").focus();
    },
    hide: () => (pane.hidden = true),
  };
}

function listenToDrops(on) {
  let depth = 0; // enter and leave events come for every nested element
  const mark = () => document.body.classList.toggle("dropping", depth > 0);
  document.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth++;
    mark();
  });
  document.addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    mark();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    mark();
    take(event.dataTransfer, on);
  });
}

function take(transfer, on) {
  if (on.elsewhere(transfer)) return;
  const found = imagesIn(transfer);
  if (found?.link) return on.open([fromLink(found.link)]);
  if (!found) return;
  const { files, others } = found;
  if (files.length) on.open(files.map((one) => fromFile(one, one.name || "pasted.png")), others);
  else if (others) on.refused(others === 1 ? "That is not an image." : "None of these files is an image.");
}
