// What is wrong with the layout of a page, as texts: it scrolls sideways, something stands outside
// of the screen, two things lie upon each other, a text is cut without a way to see the rest.
() => {
  const found = [];
  const wide = document.documentElement.scrollWidth;
  if (wide > innerWidth) found.push(`the page is ${wide} wide`);
  const name = (element) => element.outerHTML.slice(0, 120);
  const scrolls = (element) => {
    for (let each = element; each && each !== document.body; each = each.parentElement) {
      if (/auto|scroll/.test(getComputedStyle(each).overflowX)) return true;
    }
    return false;
  };
  const seen = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && !element.closest(".visually-hidden, .skip, [hidden]");
  const things = [...document.querySelectorAll("a, button, input, select, textarea, summary, label, th, td, h1, h2, pre")]
    .filter((element) => seen(element) && element.getClientRects().length);
  const stacked = (element) => /fixed|sticky/.test(getComputedStyle(element).position)
    || (element.parentElement && stacked(element.parentElement));
  const boxes = things.map((element) => ({ element, box: element.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 1 && box.height > 1);
  for (const { element, box } of boxes) {
    if ((box.right > innerWidth + 0.5 || box.left < -0.5) && !scrolls(element)) {
      found.push(`outside: ${Math.round(box.left)} to ${Math.round(box.right)} ${name(element)}`);
    }
  }
  const controls = boxes.filter(({ element }) => !stacked(element) && !scrolls(element)
    && element.matches("button, input, select, textarea, a, summary, label, h1, h2"));
  controls.forEach((one, index) => {
    for (const other of controls.slice(index + 1)) {
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue;
      // A card's link lies over the whole card, and inline links break over lines.
      if ([one, other].some(({ element }) => getComputedStyle(element).display === "inline")) continue;
      const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left);
      const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top);
      if (across > 1 && down > 1) found.push(`overlap: ${name(one.element)} AND ${name(other.element)}`);
    }
  });
  for (const element of document.querySelectorAll("button, h1, h2, th")) {
    if (!seen(element) || element.scrollWidth <= element.clientWidth + 1 || !element.clientWidth) continue;
    if (getComputedStyle(element).overflowX === "hidden" && !element.title) found.push(`cut: ${name(element)}`);
  }
  return found;
}
