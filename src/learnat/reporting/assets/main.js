"use strict";

/** The fragment that leads to a question; a slash stays readable. */
const linkTo = (exampleId) => `#${encodeURIComponent(exampleId).replaceAll("%2F", "/")}`;

function choose(question) {
  chosen = question;
  const tree = unpack(question.record);
  showQuestion(tree);
  showLegend(tree);
  drawTree(tree);
  reveal();
  history.replaceState(null, "", linkTo(question.record.example_id));
}

/** Choose the question that the address names, or the first one. */
function follow() {
  let wanted = location.hash.slice(1);
  try {
    wanted = decodeURIComponent(wanted);
  } catch {
    // Not an escaped id: look for it as it stands.
  }
  const found = questions.find(({ record }) => record.example_id === wanted);
  if (found && !shown.includes(found)) clearFilters();
  if (found || !wanted) choose(found ?? questions[0]);
  else {
    choose(chosen ?? questions[0]);
    byId("count").textContent = `There is no question ${wanted} on this page.`;
  }
}

function listKey(event) {
  const page = Math.max(1, Math.floor(byId("list").clientHeight / ROW_HEIGHT) - 1);
  const ends = { Home: -Infinity, End: Infinity, PageUp: -page, PageDown: page };
  const steps = { ArrowDown: 1, ArrowUp: -1, j: 1, k: -1, ...(document.activeElement === byId("list") ? ends : {}) };
  if (!(event.key in steps)) return false;
  const next = neighbour(steps[event.key]);
  if (next) choose(next);
  return true;
}

function pageKey(event) {
  if (event.key === "/") byId("search").focus();
  else if (event.key === "t") itemOf(view.selected).card.focus();
  else return false;
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  if (target === byId("search")) {
    if (event.key === "Escape" || event.key === "Enter" || event.key === "ArrowDown") byId("list").focus();
    return;
  }
  const arrow = event.key.startsWith("Arrow");
  if (target.matches("select") || (arrow && target.matches("input, pre"))) return;
  if (treeKey(event) || listKey(event) || pageKey(event)) event.preventDefault();
});
byId("list").addEventListener("scroll", drawRows);
addEventListener("resize", drawRows);
addEventListener("hashchange", follow);
byId("open-all").addEventListener("click", openAll);
byId("right-only").addEventListener("click", closeWrong);

const all = header.limit === questions.length ? `the first ${questions.length}` : questions.length;
byId("source").textContent = `${header.source}, ${all} questions`;
document.title = `${header.source}: search trees`;
makeFilters();
applyFilters();
follow();
