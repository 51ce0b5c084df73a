/** The page's model: the state and the answers as they are shown, and the actions on them. */

import { Answers } from "./answers.js";
import { instanceAt, instancesOf, nameOf } from "./instances.js";
import { History } from "./history.js";
import { announce, dismiss, notify } from "./notice.js";
import { markAt } from "./stage.js";
import * as State from "./state.js";
import { boxBetween, isInside, round, TOOLS } from "./tools.js";
import { COLOURS } from "./state.js";

const LEAST_BOX = 3; // screen pixels
const REACH = 12; // screen pixels

export class Page {
  /** @type {import("./images.js").LoadedImage | null} */
  image = null;
  history = new History(State.EMPTY);
  tool = "point";
  hovered = null;
  selected = null;
  selectedMark = null;
  drawing = null;
  cursor = null;
  corner = null;
  showMasks = true;
  loading = false;
  #openings = 0;
  #last = new Map();
  #told = new Set();

  /** onError(error): called when a request failed. changed(): called when the page must be drawn again. */
  constructor(client, changed, onError) {
    this.changed = changed;
    this.answers = new Answers(client, (error) => {
      if (error) onError(error);
      this.#tell();
      changed();
    });
    this.history.subscribe(() => {
      this.answers.want(this.state.prompts);
      changed();
    });
  }

  /** @returns {import("./state.js").State} */
  get state() {
    return this.history.value;
  }

  get instances() {
    return this.image ? instancesOf(this.state, (prompt) => this.#answerTo(prompt)) : [];
  }

  get exported() {
    return this.instances.filter((instance) => !instance.hidden);
  }

  /** Show an image, unless another is opened meanwhile. Rejects with a message when it cannot be loaded. */
  async open(promised) {
    const opening = ++this.#openings;
    this.loading = true;
    this.changed();
    try {
      const image = await promised;
      if (opening !== this.#openings) return false;
      this.image = image;
      this.hovered = this.selected = this.selectedMark = this.cursor = this.corner = this.drawing = null;
      this.#last.clear();
      this.#told.clear();
      this.answers.setImage(image.source);
      this.history.reset(State.forNextImage(this.state));
      dismiss();
      announce(`${image.name}, ${image.width} by ${image.height} pixels.`);
      return true;
    } finally {
      if (opening === this.#openings) this.loading = false;
      this.changed();
    }
  }

  retry() {
    this.answers.retry();
    this.answers.want(this.state.prompts);
    this.changed();
  }

  /** Add any number of concepts as one step and one request. */
  addConcepts(texts) {
    const words = texts.map((text) => text.trim().replace(/\s+/g, " ")).filter(Boolean);
    const state = words.reduce(State.addConcept, this.state);
    if (state.prompts.filter((prompt) => prompt.kind === "concept").length > State.MOST_CONCEPTS) {
      notify(`At most ${State.MOST_CONCEPTS} concepts at once: remove one first.`, { kind: "hint" });
      return false;
    }
    this.history.push(state);
    return true;
  }

  chooseTool(tool) {
    this.tool = tool;
    this.corner = this.drawing = null;
    announce(TOOLS[tool].hint);
    this.changed();
  }

  newObject() {
    this.history.replace(State.activate(this.state, null));
    announce("The next click begins a new object.");
  }

  /** A click, or Enter at the keyboard's cursor. */
  tap(point, { negative }) {
    if (!this.image || !isInside(point, this.image)) return;
    if (TOOLS[this.tool].draws) return;
    if (this.tool === "select") return this.#select(point);
    const positive = !(negative || this.tool === "minus");
    const active = State.promptOf(this.state, this.state.active);
    if (!positive && active?.kind !== "object") {
      notify("Click on the object first, then on what does not belong to it.", { kind: "hint" });
      return;
    }
    dismissHint();
    this.history.push(State.addPoint(this.state, { x: round(point.x), y: round(point.y), positive }));
  }

  drag(from, to, scale) {
    const box = boxBetween(from, to, this.image, LEAST_BOX / scale);
    this.drawing = box && { box, colour: { like: "#2fd07a", unlike: "#ff5468" }[this.tool] ?? COLOURS[0] };
    this.changed();
  }

  dragEnd(from, to, scale) {
    const box = boxBetween(from, to, this.image, LEAST_BOX / scale);
    this.drawing = this.corner = null;
    this.changed();
    if (!box) return;
    if (this.tool === "box") return this.history.push(State.addBox(this.state, box));
    const like = this.tool === "like";
    if (!like && State.promptOf(this.state, this.state.active)?.kind !== "concept") {
      notify("Select a concept first: this box says what it is not.", { kind: "hint" });
      return;
    }
    dismissHint();
    this.history.push(State.addExample(this.state, box, like));
  }

  /** Enter at the keyboard's cursor: a click, or with a drawing tool one of the box's two corners. */
  act(point, { negative }, scale) {
    if (!TOOLS[this.tool].draws) return this.tap(point, { negative });
    if (this.corner) return this.dragEnd(this.corner, point, scale);
    this.corner = point;
    announce("First corner. Move to the opposite one and press Enter.");
  }

  cancel() {
    this.drawing = this.corner = this.selected = this.selectedMark = null;
    this.changed();
  }

  hover(key) {
    if (key === this.hovered) return;
    this.hovered = key;
    this.changed();
  }

  select(key) {
    this.selected = this.selected === key ? null : key;
    this.selectedMark = null;
    this.changed();
  }

  instanceUnder(point) {
    return this.showMasks ? instanceAt(this.instances, point.x, point.y) : null;
  }

  hideInstance(key) {
    this.history.push(State.toggleInstance(this.state, key));
  }

  removeInstance(instance) {
    announce(`${instance.label} deleted.`);
    this.history.push(State.removeInstance(this.state, instance));
  }

  removeSelected() {
    const instance = this.instances.find(({ key }) => key === this.selected);
    if (this.selectedMark) this.history.push(State.removeMark(this.state, this.selectedMark));
    else if (instance) this.removeInstance(instance);
    this.selected = this.selectedMark = null;
    this.changed();
  }

  undo() {
    this.history.undo();
    announce("Undone.");
  }

  redo() {
    this.history.redo();
    announce("Done again.");
  }

  #select(point) {
    this.selectedMark = markAt(this.state.prompts, point.x, point.y, REACH / this.scale());
    const instance = this.selectedMark ? null : instanceAt(this.instances, point.x, point.y);
    this.selected = instance?.key ?? null;
    if (instance) announce(`${instance.label} selected.`);
    if (this.selectedMark) this.history.replace(State.activate(this.state, this.selectedMark.id));
    this.changed();
  }

  /** Screen pixels per image pixel; the stage's owner sets it. */
  scale = () => 1;

  /** The answer to show for a prompt. After a change, the last answer stays until the new one arrives. */
  #answerTo(prompt) {
    const answer = this.answers.answerTo(prompt);
    if (answer) this.#last.set(prompt.id, answer);
    return answer ?? (this.answers.isAsked(prompt) ? this.#last.get(prompt.id) : undefined);
  }

  /** Announce each new answer once to screen readers. */
  #tell() {
    const instances = this.instances;
    const news = [];
    for (const prompt of this.state.prompts) {
      const answer = this.answers.answerTo(prompt);
      if (!answer || this.#told.has(answer.serial)) continue;
      this.#told.add(answer.serial);
      const own = instances.filter((instance) => instance.prompt.id === prompt.id);
      news.push(prompt.kind === "concept" ? `${nameOf(prompt)}: ${own.length} found` : confidenceOf(prompt, own));
    }
    if (news.length) announce(`${news.join(". ")}.`);
  }
}

function confidenceOf(prompt, [instance]) {
  return instance ? `${nameOf(prompt)}: confidence ${instance.score.toFixed(2)}` : `${nameOf(prompt)}: nothing found`;
}

function dismissHint() {
  if (document.getElementById("notice").dataset.kind === "hint") dismiss();
}
