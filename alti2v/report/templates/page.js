"use strict";
// Sorting and filtering only. Texts are compared and shown, never made into HTML.
document.documentElement.classList.add("live");

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const numeric = head.dataset.kind === "number";
      // A first click on a number shows the largest first, on a word the alphabet.
      const order = head.getAttribute("aria-sort");
      const ascending = order ? order === "descending" : !numeric;
      const key = (row) => row.cells[column].dataset.value;
      const rows = [...body.rows].sort((one, other) => {
        const [a, b] = [key(one), key(other)];
        if (!numeric) return ascending ? a.localeCompare(b) : b.localeCompare(a);
        // What has no value stays last whichever way it is sorted.
        if (a === "" || b === "") return (a === "") - (b === "");
        return ascending ? a - b : b - a;
      });
      body.append(...rows);
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    });
  });
}

const words = document.getElementById("find-tag");
const category = document.getElementById("find-category");
const shown = document.getElementById("tags-shown");
function findTags() {
  const wanted = words.value.trim().toLowerCase().replaceAll(" ", "_");
  let count = 0;
  for (const row of document.querySelectorAll("table.tags tbody tr")) {
    const fits = row.cells[0].dataset.value.toLowerCase().includes(wanted) &&
      (category.value === "" || row.cells[1].dataset.value === category.value);
    row.hidden = !fits;
    count += fits;
  }
  shown.textContent = count.toLocaleString("en");
}
if (words) {
  words.addEventListener("input", findTags);
  category.addEventListener("change", findTags);
}

const picks = [...document.querySelectorAll("[data-choose]")];
for (const button of picks) {
  button.addEventListener("click", () => {
    for (const other of picks) other.setAttribute("aria-pressed", String(other === button));
    for (const card of document.querySelectorAll("[data-pick]")) {
      card.hidden = button.dataset.choose !== "" && !card.dataset.pick.split("|").includes(button.dataset.choose);
    }
  });
}
// All of them are many: begin with the first kind, which without this script is simply on top.
if (picks.length) picks[0].click();
