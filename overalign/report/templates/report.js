// Without this script every claim is shown.
const form = document.getElementById("filter");
form.hidden = false;
form.addEventListener("change", () => {
  const boxes = [...form.querySelectorAll("input")];
  const shown = new Set(boxes.filter(box => box.checked).map(box => box.value));
  for (const part of document.querySelectorAll("[data-verdict]"))
    part.hidden = !shown.has(part.dataset.verdict);
});
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
