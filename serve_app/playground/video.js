/** Builds the video tab: connects its part of the document with its model. */

import { Client } from "./client.js";
import { byId } from "./dom.js";
import { download } from "./exports.js";
import { listenToCursor, roam } from "./keyboard.js";
import { announce, notify } from "./notice.js";
import { objectsPanel, textsPanel } from "./panel_objects.js";
import { listenToPointers } from "./pointer.js";
import { preference, setPreference } from "./preferences.js";
import { listenToScrolling } from "./scrolling.js";
import { apiKey } from "./session.js";
import { Stage } from "./stage.js";
import { frameMasksOf, motOf, videoCoco } from "./video_exports.js";
import { VideoPage } from "./video_page.js";
import { VideoView } from "./video_view.js";
import { actualSize, zoomAt } from "./viewport.js";

/**
 * on.error(error, again): tells of a failed request, which again() repeats. Returns {keys, canvas, open(files), leave()}:
 * keys: the tab's shortcuts.
 */
export function videoTab({ root, model, every }, on) {
  const schedule = () => view.schedule();
  // Videos are followed by the default model.
  const page = new VideoPage(new Client(root, apiKey, () => ""), {
    changed: schedule,
    pointed: schedule,
    error: on.error,
    opened: () => {
      picker.hidden = true;
      stage.canvas.focus({ preventScroll: true });
    },
  });
  const stage = new Stage(byId("video-stage"), byId("video-marks"), schedule);
  const view = new VideoView({
    page, stage,
    showTexts: textsPanel(byId("video-texts"), { remove: (text) => page.removeText(text) }),
    showObjects: objectsPanel(byId("video-objects"), {
      hover: (id) => page.hover(id),
      select: (id) => page.select(id),
      hide: (id) => page.toggle(id),
      remove: (id) => page.remove(id),
    }),
  });

  const cancelGesture = listenToPointers(stage, () => page.tool === "box", {
    tap: (point, options) => {
      page.cursor = null;
      page.tap(point, options);
    },
    drag: (from, to) => page.drag(from, to, stage.view.scale),
    dragEnd: (from, to) => page.dragEnd(from, to, stage.view.scale),
    cancel: () => page.cancel(),
    moved: schedule,
    hover: (point) => page.hover(point ? page.under(point)?.key ?? null : null),
  });
  listenToCursor(stage, page, {
    under: (point) => page.under(point),
    tell: (instance) => instance?.label ?? "nothing followed here",
    moved: schedule,
    left: schedule,
  });

  // --- opening --------------------------------------------------------------------------------------------------

  const picker = byId("video-picker");
  const input = byId("video-file");
  const showPicker = () => {
    picker.hidden = false;
    byId("video-picker-close").hidden = !page.source;
    byId("video-choose").focus();
  };
  const open = (files) => files.length && page.open(files);
  input.addEventListener("change", () => {
    open([...input.files]);
    input.value = "";
  });

  // --- buttons and keys -----------------------------------------------------------------------------------------

  const zoom = (factor) => {
    if (page.image) stage.view = zoomAt(stage.view, factor, stage.size.width / 2, stage.size.height / 2, page.image);
    schedule();
  };
  const fit = () => {
    stage.fit();
    schedule();
  };
  const choose = (tool) => {
    page.tool = tool;
    schedule();
  };
  const toggleMasks = () => {
    page.showMasks = !page.showMasks;
    schedule();
  };
  const track = () => (page.doing === "tracking" ? page.stop() : page.track());
  const step = (by) => page.look(page.frame + by);
  const name = () => page.source.name.replace(/\.\w+$/, "");
  const save = async (suffix, make) => {
    try {
      download(await make(), `${name()}_${suffix}`);
      announce(`Saved ${suffix}.`);
    } catch (error) {
      notify(error.message);
    }
  };
  const clicks = {
    "video-open": showPicker,
    "video-choose": () => input.click(),
    "video-picker-close": () => (picker.hidden = true),
    "video-new": () => page.newObject(),
    "video-undo": () => page.undo(),
    "video-redo": () => page.redo(),
    "video-zoom-in": () => zoom(1.25),
    "video-zoom-out": () => zoom(0.8),
    "video-fit": fit,
    "video-masks": toggleMasks,
    "video-previous": () => step(-1),
    "video-next": () => step(1),
    track,
    "video-coco": () => save("coco.json", () => videoCoco(page.source, page.state, model, byId("video-segmentation").value)),
    "video-mot": () => save("mot.txt", () => motOf(page.state)),
    "video-frame-masks": () => save("masks.zip", () => frameMasksOf(page.state)),
  };
  for (const [id, run] of Object.entries(clicks)) byId(id).addEventListener("click", run);
  for (const button of byId("video-tools").querySelectorAll("[data-tool]")) {
    button.addEventListener("click", () => choose(button.dataset.tool));
  }
  byId("scrubber").addEventListener("input", () => page.look(Number(byId("scrubber").value)));
  byId("video-concept-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (page.addTexts(byId("video-concept").value.split(","))) byId("video-concept").value = "";
  });
  byId("every").value = preference("every", every);
  page.every = Number(byId("every").value);
  byId("every").addEventListener("change", () => {
    setPreference("every", byId("every").value);
    page.search(Number(byId("every").value));
  });
  byId("video-segmentation").value = preference("segmentation", "polygons");
  byId("video-segmentation").addEventListener("change", () => setPreference("segmentation", byId("video-segmentation").value));
  roam(byId("video-tools"));
  listenToScrolling(byId("video-tools"), byId("video-tools-before"), byId("video-tools-after"));
  schedule();

  return {
    canvas: stage.canvas,
    open,
    leave: () => page.leave(),
    keys: {
      c: () => choose("point"),
      x: () => choose("minus"),
      b: () => choose("box"),
      n: () => page.newObject(),
      t: track,
      m: toggleMasks,
      h: () => page.state.active !== null && page.toggle(page.state.active),
      delete: () => page.remove(page.state.active),
      backspace: () => page.remove(page.state.active),
      "ctrl+z": () => page.undo(),
      "ctrl+shift+z": () => page.redo(),
      "ctrl+y": () => page.redo(),
      "[": () => step(-1),
      "]": () => step(1),
      escape: () => {
        cancelGesture();
        if (page.source) picker.hidden = true;
        page.cancel();
      },
      "/": () => byId("video-concept").focus(),
      o: showPicker,
      "+": () => zoom(1.25),
      "=": () => zoom(1.25),
      "-": () => zoom(0.8),
      0: fit,
      1: () => {
        if (page.image) stage.view = actualSize(page.image, stage.size);
        schedule();
      },
    },
  };
}
