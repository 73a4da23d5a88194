// What every page has: the menu closes when the person goes on elsewhere.
const menu = document.querySelector("details.menu");

document.addEventListener("click", (event) => {
  if (menu && !menu.contains(event.target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

// One press, one task; and what cannot be undone is asked for twice.
document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  const question = submitter?.dataset.confirm;
  if (form.dataset.sent || (question && !window.confirm(question))) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "yes";
  setTimeout(() => delete form.dataset.sent, 3000);
});

// What is done to the tasks that are selected waits until one is.
const selection = document.querySelector("[data-selection]");
if (selection) {
  const boxes = () => [...selection.querySelectorAll('input[name="task"]')];
  const all = selection.querySelector("[data-pick-all]");
  const show = () => {
    const count = boxes().filter((box) => box.checked).length;
    selection.querySelector("[data-selected]").textContent = count;
    selection.querySelectorAll('button[name="do"]').forEach((button) => (button.disabled = !count));
    all.checked = count > 0 && count === boxes().length;
    all.indeterminate = count > 0 && !all.checked;
  };
  all.hidden = false;
  selection.addEventListener("change", (event) => {
    if (event.target === all) boxes().forEach((box) => (box.checked = all.checked));
    show();
  });
  // Also for what the browser remembers of the page when the person comes back.
  window.addEventListener("pageshow", show);
  show();
}

// What scripts do by themselves needs no button.
document.querySelectorAll("[data-without-scripts]").forEach((button) => (button.hidden = true));
