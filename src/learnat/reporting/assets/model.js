"use strict";

/** What a node can be, in the order of the legend. Shape and letter say it without the colour. */
const VERDICTS = {
  final: { shape: "★", letter: "F", label: "final" },
  included: { shape: "●", letter: "I", label: "included" },
  wrong: { shape: "▲", letter: "W", label: "wrong, kept" },
  pruned: { shape: "✕", letter: "P", label: "pruned" },
};

const [header, ...records] = JSON.parse(byId("data").textContent);

function verdictOf(node) {
  if (node.pruned_by !== null) return "pruned";
  if (node.final) return "final";
  return node.included ? "included" : "wrong";
}

/** One question a record, with what filters ask for. Nodes stay packed until the tree is drawn. */
const questions = records.map((record) => {
  const rule = header.node_fields.indexOf("pruned_by");
  const rules = new Set(record.nodes.map((node) => node[rule]));
  rules.delete(null);
  return {
    record,
    status: record.stats.solved ? "solved" : "unsolved",
    rules: [...rules].map((text) => record.texts[text]),
    text: `${record.example_id}\n${record.question}\n${record.gold_sql}`.toLowerCase(),
  };
});

/**
 * The tree of a record, as linked nodes below a root that stands for the question.
 * `solved` says on which kind of verified path a node lies: "shortest", "other" or null; `right` whether it and all
 * before it are right and unpruned; `below` how many nodes come after it.
 */
function unpack(record) {
  const root = { id: 0, parent: null, verdict: "root", depth: 0, children: [], below: 0, right: true, solved: null };
  const byNumber = new Map([[0, root]]);
  const nodes = record.nodes.map((values) => {
    const node = { children: [], below: 0, solved: null };
    header.node_fields.forEach((name, place) => {
      const value = values[place];
      node[name] = value !== null && header.text_fields.includes(name) ? record.texts[value] : value;
    });
    node.verdict = verdictOf(node);
    node.parent = byNumber.get(node.parent);
    node.depth = node.parent.depth + 1;
    node.right = node.parent.right && (node.verdict === "final" || node.verdict === "included");
    node.parent.children.push(node);
    byNumber.set(node.id, node);
    return node;
  });
  for (const node of [...nodes].reverse()) node.parent.below += node.below + 1;
  record.solved_paths.forEach((path, rank) => {
    for (const id of [0, ...path]) byNumber.get(id).solved ??= rank === 0 ? "shortest" : "other";
  });
  const order = (node) => (node.solved === "shortest" ? -2 : node.solved ? -1 : Object.keys(VERDICTS).indexOf(node.verdict));
  for (const node of [root, ...nodes]) node.children.sort((a, b) => order(a) - order(b) || a.id - b.id);
  return { record, root, nodes };
}

/** The node's ids from the root on. */
function pathOf(node) {
  const path = [];
  for (let at = node; at; at = at.parent) path.unshift(at.id);
  return path;
}
