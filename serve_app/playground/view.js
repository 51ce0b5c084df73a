/** Shows the page's model in the document. */

import { classes } from "./classes.js";
import { byId, element, setText } from "./dom.js";
import { situationOf, waitingText } from "./situation.js";
import { SUGGESTIONS } from "./samples.js";
import { conceptOf } from "./state.js";
import { TOOLS } from "./tools.js";

const TICK_MS = 500;
/** A wait is told on the image from this time on. */
const PATIENCE_MS = 400;

export class View {
  #scheduled = "";

  /** parts: {page, row, stage, store, showPrompts, showInstances, showRow, showSnippet, toggleConcept}. */
  constructor(parts) {
    Object.assign(this, parts);
    // Keeps "3 s" current. Nothing is drawn while nothing is waited for.
    setInterval(() => this.#showWaiting(), TICK_MS);
  }

  /** Show everything at the next frame. */
  schedule() {
    this.#ask("all");
  }

  /** Show the effects of a moving pointer at the next frame: the highlighted instance, the cursor, a box in the making.
  */
  schedulePointed() {
    this.#ask("pointed");
  }

  #ask(what) {
    const asked = this.#scheduled;
    if (asked !== "all") this.#scheduled = what;
    if (asked) return;
    requestAnimationFrame(() => {
      const all = this.#scheduled === "all";
      this.#scheduled = "";
      if (all) this.#render();
      else this.#renderPointed();
    });
  }

  #renderPointed() {
    const { page, stage } = this;
    const highlighted = page.hovered ?? page.selected;
    const { image, instances, drawing, cursor } = page;
    Object.assign(stage.scene, { image, instances, highlighted, drawing, cursor });
    stage.redrawMarks();
    this.showInstances(instances, highlighted);
    this.#showStatus(image);
  }

  #render() {
    const { page, stage } = this;
    const { state, image, instances } = page;
    Object.assign(stage.scene, {
      prompts: state.prompts, active: state.active, selectedMark: page.selectedMark, showMasks: page.showMasks,
    });
    this.#renderPointed();
    stage.redraw();
    const counts = Map.groupBy(instances, (instance) => instance.prompt.id);
    this.showPrompts(
      state.prompts.map((prompt) => ({
        prompt,
        count: counts.get(prompt.id)?.length ?? 0,
        asked: page.answers.isAsked(prompt),
        error: page.answers.errorOf(prompt),
        active: prompt.id === state.active,
      })),
    );
    const shown = instances.filter((instance) => !instance.hidden).length;
    setText(byId("instance-count"), instances.length ? String(instances.length) : "");
    byId("no-prompts").hidden = state.prompts.length > 0;
    for (const button of byId("export").querySelectorAll("button")) button.disabled = shown === 0;
    byId("undo").disabled = !page.history.canUndo;
    byId("redo").disabled = !page.history.canRedo;
    for (const button of byId("tools").querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === page.tool));
    }
    byId("masks").setAttribute("aria-pressed", String(page.showMasks));
    byId("distinct").checked = page.distinct;
    stage.canvas.dataset.tool = page.tool;
    stage.canvas.dataset.view = JSON.stringify(stage.view);
    this.showRow();
    this.#showWaiting();
    this.#showSuggestions(image, state);
    this.#showClassNames();
    this.showSnippet(image, state);
    const waits = page.loading || page.answers.waiting;
    document.body.classList.toggle("busy", Boolean(waits));
    // For tests and scripts that drive the page.
    document.body.dataset.state = waits || this.row.isBusy || this.store.busy ? "busy" : "idle";
  }

  #showWaiting() {
    const { page } = this;
    const now = performance.now();
    const since = page.loading || page.answers.waiting?.since;
    const text = waitingText(page, now);
    const waiting = byId("waiting");
    waiting.hidden = !text || now - since < PATIENCE_MS;
    setText(waiting, text);
    const hint = byId("no-instances");
    hint.hidden = page.instances.length > 0;
    if (hint.hidden) return;
    const { kind, text: told } = situationOf(page, now);
    hint.dataset.kind = kind;
    setText(hint, told);
  }

  /** The concepts in a sample: for each a button that adds the concept, or removes it again. */
  #showSuggestions(image, state) {
    const texts = SUGGESTIONS[image?.sample] ?? [];
    const list = byId("suggestions");
    if (list.dataset.shown !== texts.join()) {
      list.dataset.shown = texts.join();
      const hint = element("p", { class: "hint" }, "Several at once: separate them with commas.");
      list.replaceChildren(
        ...texts.map((text) => element("button", { type: "button", class: "suggestion", click: () => this.toggleConcept(text) }, text)),
        ...(texts.length ? [] : [hint]),
      );
    }
    for (const button of list.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(Boolean(conceptOf(state, button.textContent))));
    }
  }

  /** The known classes, to choose from where one is typed. */
  #showClassNames() {
    const names = classes();
    const list = byId("class-names");
    if (list.dataset.shown === names.join("\n")) return;
    list.dataset.shown = names.join("\n");
    list.replaceChildren(...names.map((name) => element("option", { value: name })));
  }

  #showStatus(image) {
    const { page, stage } = this;
    const hint = image ? TOOLS[page.tool].hint : "Open an image to begin.";
    setText(byId("status-hint"), page.corner ? "Move to the opposite corner and press Enter." : hint);
    setText(byId("zoom"), image ? `${Math.round(stage.view.scale * (globalThis.devicePixelRatio || 1) * 100)} %` : "–");
  }
}
