/** The user's choices, kept by the browser. Without storage they last as long as the page. */

const NAME = "sam3-playground";
let values = {};

/** A choice by its name, or the default for it. */
export function preference(name, otherwise) {
  values = read();
  return name in values ? values[name] : otherwise;
}

export function setPreference(name, value) {
  values = { ...read(), [name]: value }; // another tab may have written
  try {
    localStorage.setItem(NAME, JSON.stringify(values));
  } catch {
    // Storage may be off.
  }
}

function read() {
  try {
    return { ...values, ...JSON.parse(localStorage.getItem(NAME) ?? "{}") };
  } catch {
    return { ...values };
  }
}
