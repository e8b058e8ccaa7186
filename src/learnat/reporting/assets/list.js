"use strict";

const ROW_HEIGHT = 54;
const ROWS_AROUND = 8;

/** The values by which a question can be filtered; each control starts with "all". */
const FACETS = {
  status: { label: "Status", all: "all", of: (question) => [question.status] },
  database: { label: "Database", all: "all databases", of: (question) => [question.record.db_id] },
  depth: { label: "Depth", all: "any depth", of: (question) => [String(question.record.stats.depth)] },
  rule: { label: "Pruned by", all: "any pruning", of: (question) => question.rules },
};
const facetNames = Object.keys(FACETS);

/** The questions that pass all filters, in file order. */
let shown = questions;
let chosen = null;

/** Make the controls: radio buttons for the status, a menu for each other facet. */
function makeFilters() {
  for (const name of facetNames) {
    const facet = FACETS[name];
    const natural = new Intl.Collator("en", { numeric: true }).compare;
    const values = [...new Set(questions.flatMap(facet.of))].sort(natural);
    if (name === "status") values.splice(0, values.length, "solved", "unsolved");
    const control = element("select", { "aria-label": facet.label, "data-facet": name });
    facet.labels = ["", ...values].map((value) => {
      const label = element(name === "status" ? "span" : "option", { value });
      if (name === "status") {
        const radio = element("input", { type: "radio", name, value, "data-facet": name, checked: value === "" ? "" : null });
        byId("status").append(element("label", {}, radio, label));
      } else {
        control.append(label);
      }
      return [value, label];
    });
    if (name !== "status") byId("selects").append(control);
  }
  byId("filters").addEventListener("input", () => applyFilters());
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

function readFilters() {
  const wanted = {};
  for (const control of document.querySelectorAll("[data-facet]")) {
    if (control.type !== "radio" || control.checked) wanted[control.dataset.facet] = control.value;
  }
  return { wanted, terms: byId("search").value.toLowerCase().split(/\s+/).filter(Boolean) };
}

/** Filter the list anew. The number beside a value is how many questions choosing it would leave. */
function applyFilters() {
  const { wanted, terms } = readFilters();
  const counts = Object.fromEntries(facetNames.map((name) => [name, new Map([["", 0]])]));
  shown = questions.filter((question) => {
    if (!terms.every((term) => question.text.includes(term))) return false;
    const failing = facetNames.filter((name) => wanted[name] && !FACETS[name].of(question).includes(wanted[name]));
    for (const name of facetNames) {
      if (failing.some((other) => other !== name)) continue;
      for (const value of ["", ...FACETS[name].of(question)]) counts[name].set(value, (counts[name].get(value) ?? 0) + 1);
    }
    return failing.length === 0;
  });
  for (const name of facetNames) {
    for (const [value, label] of FACETS[name].labels) {
      const text = value === "" ? FACETS[name].all : name === "depth" ? `depth ${value}` : name === "rule" ? `pruned by ${value}` : value;
      label.textContent = `${text} (${counts[name].get(value) ?? 0})`;
    }
  }
  const solved = shown.filter((question) => question.status === "solved").length;
  byId("count").textContent = `${shown.length} of ${questions.length} questions, ${solved} solved`;
  byId("rows").style.height = `${Math.max(shown.length, 1) * ROW_HEIGHT}px`;
  reveal();
}

function clearFilters() {
  byId("filters").reset();
  applyFilters();
}

/** Draw the rows that can be seen, and a few around them. */
function drawRows() {
  const list = byId("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_HEIGHT) - ROWS_AROUND);
  const last = Math.min(shown.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_HEIGHT) + ROWS_AROUND);
  const rows = shown.slice(first, last).map((question, offset) => rowOf(question, first + offset));
  byId("rows").replaceChildren(...(rows.length ? rows : [element("p", { class: "none" }, "No question passes these filters.")]));
  const at = shown.indexOf(chosen);
  if (at >= first && at < last) list.setAttribute("aria-activedescendant", `row-${at}`);
  else list.removeAttribute("aria-activedescendant");
}

function rowOf(question, place) {
  const { record, status } = question;
  const row = element(
    "div",
    {
      id: `row-${place}`,
      role: "option",
      class: `row ${status}`,
      "aria-selected": String(question === chosen),
      "aria-posinset": place + 1,
      "aria-setsize": shown.length,
    },
    element("span", { class: "mark", role: "img", "aria-label": status }, status === "solved" ? "✓" : "✗"),
    element("span", { class: "id" }, record.example_id),
    element("span", { class: "about" }, `${record.db_id} · depth ${record.stats.depth} · ${record.nodes.length} node${record.nodes.length === 1 ? "" : "s"}`),
    element("span", { class: "words" }, record.question),
  );
  row.style.top = `${place * ROW_HEIGHT}px`;
  row.addEventListener("click", () => choose(question));
  return row;
}

/** Scroll the list until the chosen question is in sight, and draw it. */
function reveal() {
  const list = byId("list");
  const at = shown.indexOf(chosen);
  if (at < 0) list.scrollTop = 0;
  else {
    const top = at * ROW_HEIGHT;
    list.scrollTop = Math.min(top, Math.max(list.scrollTop, top + ROW_HEIGHT - list.clientHeight));
  }
  drawRows();
}

/** The question `steps` further down the list (up, if negative), or its end. */
function neighbour(steps) {
  const at = shown.indexOf(chosen);
  return at < 0 ? shown[0] : shown[Math.min(shown.length - 1, Math.max(0, at + steps))];
}
