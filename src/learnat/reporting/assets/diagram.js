"use strict";

const CARD = { width: 250, height: 68, gap: 10, column: 310, top: 30 };
const CHIP_HEIGHT = 26;
/** Trees up to this size open whole. */
const SMALL = 16;

/** The tree on view. `closed` holds nodes whose children are hidden, `cut` those whose pruned children are. */
const view = { tree: null, closed: new Set(), cut: new Set(), selected: null, shown: null, items: [] };

function drawTree(tree) {
  Object.assign(view, { tree, closed: new Set(), cut: new Set(), selected: startOf(tree), shown: null });
  if (tree.nodes.length > SMALL) closeWrong();
  else drawItems();
  byId("diagram").scrollTo(0, 0);
  itemOf(view.selected)?.card.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** The node to look at first: the end of the shortest verified path, or the best step there is. */
function startOf(tree) {
  const ends = tree.nodes.filter((node) => node.solved === "shortest" && node.id === tree.record.solved_paths[0].at(-1));
  const right = tree.nodes.filter((node) => node.right);
  return ends[0] ?? right.sort((a, b) => b.coverage - a.coverage)[0] ?? tree.root;
}

function openAll() {
  view.closed.clear();
  view.cut.clear();
  drawItems();
}

/** Hide what comes after a wrong step, and all pruned ones. */
function closeWrong() {
  for (const node of [view.tree.root, ...view.tree.nodes]) {
    if (node.children.length && !node.right) view.closed.add(node);
    if (node.children.some((child) => child.verdict === "pruned")) view.cut.add(node);
  }
  drawItems();
}

/**
 * Places for all that can be seen, in drawing order: a step is a column, and a node stands in the row of its first
 * child. Works without recursion, since a path can be of any length.
 */
function layout() {
  const items = [];
  let bottom = CARD.top;
  const stack = [{ node: view.tree.root, parent: null }];
  while (stack.length) {
    const next = stack.pop();
    if (next.leave) {
      bottom = Math.max(bottom, next.leave.y + next.leave.height + CARD.gap);
      continue;
    }
    const depth = next.chip ? next.chip.depth + 1 : next.node.depth;
    const item = { ...next, x: depth * CARD.column, y: bottom, height: next.chip ? CHIP_HEIGHT : CARD.height, depth };
    items.push(item);
    stack.push({ leave: item });
    if (next.node && !view.closed.has(next.node)) stack.push(...childItems(item).reverse());
  }
  return { items, bottom };
}

function childItems(item) {
  const pruned = item.node.children.filter((child) => child.verdict === "pruned");
  const kept = item.node.children.filter((child) => child.verdict !== "pruned");
  const chip = pruned.length ? [{ chip: item.node, count: pruned.length, parent: item }] : [];
  const open = view.cut.has(item.node) ? kept : item.node.children;
  const cards = open.map((node) => ({ node, parent: item }));
  return [...cards.slice(0, kept.length), ...chip, ...cards.slice(kept.length)];
}

function drawItems() {
  const { items, bottom } = layout();
  view.items = items;
  if (view.selected && !itemOf(view.selected)) view.selected = view.tree.root;
  for (const item of items) item.card = item.chip ? chipOf(item) : cardOf(item);
  const depth = items.reduce((deepest, item) => Math.max(deepest, item.depth), 0);
  const canvas = element("div", { class: "canvas", role: "none" }, columnHeads(depth), linksOf(items), ...items.map((item) => item.card));
  canvas.style.width = `${(depth + 1) * CARD.column}px`;
  canvas.style.height = `${bottom}px`;
  const empty = view.tree.nodes.length === 0 && element("p", { class: "none" }, "No step was proposed: synthesis of this question failed.");
  byId("diagram").replaceChildren(canvas, ...(empty ? [empty] : []));
  select(view.selected, false);
}

function columnHeads(depth) {
  const heads = element("div", { class: "heads", "aria-hidden": "true" });
  for (let step = 0; step <= depth; step++) {
    const head = element("span", {}, step ? `step ${step}` : "question");
    head.style.left = `${step * CARD.column}px`;
    heads.append(head);
  }
  return heads;
}

function linksOf(items) {
  const space = "http://www.w3.org/2000/svg";
  const links = document.createElementNS(space, "svg");
  links.setAttribute("aria-hidden", "true");
  // The verified path is drawn last, over the others.
  const rank = (item) => (item.node?.solved === "shortest" ? 2 : item.node?.solved ? 1 : 0);
  for (const item of [...items].sort((a, b) => rank(a) - rank(b))) {
    if (!item.parent || (item.chip && !view.cut.has(item.chip))) continue;
    const [x, y] = [item.parent.x + CARD.width, item.parent.y + CARD.height / 2];
    const [right, down] = [item.x, item.y + item.height / 2];
    const middle = (x + right) / 2;
    const link = document.createElementNS(space, "path");
    link.setAttribute("d", `M${x},${y} C${middle},${y} ${middle},${down} ${right},${down}`);
    link.setAttribute("class", `link ${item.node?.verdict ?? "pruned"} ${item.node?.solved ?? ""}`);
    links.append(link);
  }
  return links;
}

function cardOf(item) {
  const { node } = item;
  const verdict = VERDICTS[node.verdict];
  const hidden = view.closed.has(node);
  const title = verdict
    ? [
        element("span", { class: "badge" }, `${verdict.shape} ${verdict.letter}`),
        element("span", { class: "number" }, `#${node.id}`),
        element("span", { class: "why" }, node.pruned_by !== null ? `by ${node.pruned_by}` : node.solved ? "✓ solved path" : ""),
        element("span", { class: "reward", title: "reward" }, node.reward.toFixed(2)),
      ]
    : [element("span", { class: "badge" }, "? question"), element("span", { class: "why" }, view.tree.record.example_id)];
  const card = element(
    "div",
    {
      class: `card ${node.verdict} ${node.solved ?? ""}`,
      role: "treeitem",
      tabindex: "-1",
      "aria-level": node.depth + 1,
      "aria-expanded": node.children.length ? String(!hidden) : null,
      "aria-label": labelOf(node),
    },
    element("div", { class: "title" }, ...title),
    element("div", { class: verdict ? "sql" : "words" }, verdict ? node.sql : view.tree.record.question),
  );
  if (node.children.length) {
    const toggle = element("span", { class: "toggle", "aria-hidden": "true" }, hidden ? `+${node.below}` : "–");
    toggle.addEventListener("click", () => toggleItem(item));
    card.append(toggle);
  }
  return placed(card, item);
}

function chipOf(item) {
  const hidden = view.cut.has(item.chip);
  const words = `${VERDICTS.pruned.shape} ${item.count} pruned`;
  const chip = element(
    "div",
    { class: "chip", role: "treeitem", tabindex: "-1", "aria-level": item.depth + 1, "aria-expanded": String(!hidden) },
    `${hidden ? "▸" : "▾"} ${words}`,
  );
  chip.addEventListener("click", () => toggleItem(item));
  return placed(chip, item);
}

function placed(card, item) {
  card.style.left = `${item.x}px`;
  card.style.top = `${item.y}px`;
  card.style.width = `${CARD.width}px`;
  card.style.height = `${item.height}px`;
  if (item.node) {
    // Cards that scroll below a mouse at rest are not meant: the keyboard may be leading.
    card.addEventListener("mousemove", (event) => (event.movementX || event.movementY) && showNode(item.node));
    card.addEventListener("mouseleave", () => showNode(view.selected));
    card.addEventListener("click", () => select(item.node, true));
    card.addEventListener("focus", () => select(item.node, false));
  }
  return card;
}

function labelOf(node) {
  if (node === view.tree.root) return `Question: ${view.tree.record.question}`;
  const path = node.solved ? ", on a solved path" : "";
  const rule = node.pruned_by !== null ? ` by ${node.pruned_by}` : "";
  return `Node ${node.id}, ${VERDICTS[node.verdict].label}${rule}${path}, reward ${node.reward.toFixed(2)}: ${node.sql}`;
}

const itemOf = (node) => view.items.find((item) => item.node === node);

/** Make `node` the one that the panel shows when the mouse is elsewhere, and that Tab leads to. */
function select(node, focus) {
  view.selected = node;
  for (const { card } of view.items) card.tabIndex = -1;
  for (const marked of byId("diagram").querySelectorAll(".selected")) marked.classList.remove("selected");
  const { card } = itemOf(node);
  card.tabIndex = 0;
  card.classList.add("selected");
  if (focus) card.focus();
  showNode(node);
}

function toggleItem(item) {
  const [set, key] = item.chip ? [view.cut, item.chip] : [view.closed, item.node];
  if (item.node && !item.node.children.length) return;
  if (!set.delete(key)) set.add(key);
  const around = item.card.getBoundingClientRect().top;
  drawItems();
  const again = view.items.find((other) => other.node === item.node && other.chip === item.chip);
  byId("diagram").scrollTop += again.card.getBoundingClientRect().top - around;
  again.card.focus();
}

/** Arrows move within the tree: left to the parent, right to the first child, up and down within the column. */
function treeKey(event) {
  const item = view.items.find(({ card }) => card === document.activeElement);
  if (!item) return false;
  const column = view.items.filter(({ depth }) => depth === item.depth);
  const at = column.indexOf(item);
  const closed = item.node && item.node.children.length && view.closed.has(item.node);
  const moves = {
    ArrowUp: () => column[at - 1],
    ArrowDown: () => column[at + 1],
    ArrowLeft: () => item.parent,
    ArrowRight: () => (closed ? toggleItem(item) : view.items.find(({ parent }) => parent === item)),
    Home: () => view.items[0],
  };
  if (event.key === "Enter" || event.key === " ") toggleItem(item);
  else if (moves[event.key]) moves[event.key]()?.card.focus();
  else return false;
  return true;
}
