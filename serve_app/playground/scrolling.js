/** Shows that a bar scrolls: a button at each end behind which there is more. */

/** before, after: elements at the bar's two ends. */
export function listenToScrolling(bar, before, after) {
  const update = () => {
    before.hidden = bar.scrollLeft < 2;
    after.hidden = bar.scrollLeft > bar.scrollWidth - bar.clientWidth - 2;
  };
  const go = (by) => bar.scrollBy({ left: by * bar.clientWidth * 0.7, behavior: "smooth" });
  before.addEventListener("click", () => go(-1));
  after.addEventListener("click", () => go(1));
  bar.addEventListener("scroll", update, { passive: true });
  new ResizeObserver(update).observe(bar);
  update();
}
