/** Small helpers for the document. */

const SVG = "http://www.w3.org/2000/svg";

/** @returns {any} the element with this id */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element #${id}`);
  return found;
}

/** An element with attributes (functions become listeners, booleans are set or left out) and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

/** One of the icons of index.html. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  drawing.append(use);
  return drawing;
}

export function iconButton(name, label, click) {
  return element("button", { type: "button", class: "icon-button", "aria-label": label, title: label, click }, icon(name));
}

/** Change a button's icon and label, if they differ. */
export function relabel(button, name, label) {
  if (button.getAttribute("aria-label") === label) return;
  button.setAttribute("aria-label", label);
  button.title = label;
  button.querySelector("use").setAttribute("href", `#i-${name}`);
}

/** Set a text; leaves the document untouched when it already has this text. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const kept = new WeakMap();

/**
 * Children of a list, one per item: each is made once per key and updated later, so that it keeps the focus.
 * When the focused child is removed, the focus moves to its neighbour, or to the list.
 */
export function keyed(parent, items, keyOf, create, update) {
  const before = kept.get(parent) ?? new Map();
  const after = new Map();
  const focused = [...parent.children].findIndex((child) => child.contains(document.activeElement));
  for (const item of items) {
    const key = keyOf(item);
    const child = before.get(key) ?? create(item);
    before.delete(key);
    after.set(key, child);
    update(child, item);
  }
  for (const child of before.values()) child.remove();
  let at = parent.firstChild;
  for (const child of after.values()) {
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  kept.set(parent, after);
  if (focused >= 0 && !parent.contains(document.activeElement)) {
    const neighbour = parent.children[Math.min(focused, parent.children.length - 1)];
    (neighbour?.querySelector("button") ?? parent).focus();
  }
}
