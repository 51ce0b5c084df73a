/** Tabs as the ARIA practices describe them: one stop of the Tab key, arrows change the tab. */

export function tabs(list, onSelect = (_id) => {}) {
  const all = [...list.querySelectorAll("[role=tab]")];
  const select = (chosen) => {
    for (const tab of all) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      const panel = tab.getAttribute("aria-controls");
      const shared = !on && chosen.getAttribute("aria-controls") === panel;
      if (!shared) document.getElementById(panel).hidden = !on;
    }
    onSelect(chosen.id);
  };
  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = all[(all.indexOf(event.target) + step + all.length) % all.length];
    next.focus();
    select(next);
  });
}
