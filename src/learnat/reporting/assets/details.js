"use strict";

const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 3 });

/** The question above its tree: what was asked, gold's answer, and what the search took. */
function showQuestion(tree) {
  const { record, nodes } = tree;
  const { stats } = record;
  const pruned = {};
  for (const { pruned_by: rule } of nodes) if (rule !== null) pruned[rule] = (pruned[rule] ?? 0) + 1;
  const status = stats.solved ? "✓ solved" : "✗ unsolved";
  byId("question").replaceChildren(
    element(
      "p",
      { class: "where" },
      element("span", { class: `status ${stats.solved ? "solved" : "unsolved"}` }, status),
      element("a", { href: linkTo(record.example_id) }, record.example_id),
      element("span", {}, record.db_id),
    ),
    element("h2", {}, record.question),
    ...(record.evidence ? [element("p", { class: "evidence" }, element("b", {}, "Evidence "), record.evidence)] : []),
    element("pre", { class: "gold", "aria-label": "Gold SQL", tabindex: "0" }, record.gold_sql),
    facts([
      ["depth", stats.depth],
      ["nodes", number(nodes.length)],
      ["simulations", number(stats.simulations)],
      ["calls", number(stats.calls) + (stats.cached_calls ? ` (${number(stats.cached_calls)} cached)` : "")],
      ["tokens in / out", `${number(stats.prompt_tokens)} / ${number(stats.completion_tokens)}`],
      ["seconds", number(stats.seconds)],
      ["solved paths", record.solved_paths.length],
      ["pruned by", counted(pruned)],
      ["timed out", stats.timed_out || null],
      ["rejected replies", counted(stats.rejected)],
    ]),
  );
}

function showLegend(tree) {
  const entries = Object.entries(VERDICTS).map(([name, { shape, letter, label }]) => {
    const count = tree.nodes.filter((node) => node.verdict === name).length;
    return element("li", {}, element("span", { class: `badge ${name}` }, `${shape} ${letter}`), ` ${label} ${count}`);
  });
  const path = element("li", {}, element("span", { class: "badge path" }, "✓"), " on a solved path (thick: the shortest)");
  byId("legend").replaceChildren(...entries, path);
}

/** All that is known about a node, below the tree. */
function showNode(node) {
  if (node === view.shown) return;
  view.shown = node;
  const { record, root } = view.tree;
  if (node === root) {
    byId("node").replaceChildren(
      element("h3", {}, "Question"),
      element("div", { class: "texts" }, element("p", {}, record.question), element("pre", {}, record.gold_sql)),
    );
    return;
  }
  const { shape, letter, label } = VERDICTS[node.verdict];
  byId("node").replaceChildren(
    element(
      "h3",
      {},
      element("span", { class: `badge ${node.verdict}` }, `${shape} ${letter}`),
      ` Node ${node.id}: ${label}${node.pruned_by !== null ? ` by ${node.pruned_by}` : ""}`,
      ...(node.solved ? [element("span", { class: "badge path" }, "✓ solved path")] : []),
    ),
    element(
      "div",
      { class: "texts" },
      element("p", {}, node.sub_question),
      element("pre", { "aria-label": "SQL", tabindex: "0" }, node.sql),
    ),
    facts([
      ["reward", number(node.reward)],
      ["coverage", number(node.coverage)],
      ["visits", number(node.visits)],
      ["value", number(node.value)],
      ["source", node.source],
      ["pruned by", node.pruned_by ?? "–"],
      ["included", node.included ? "yes" : "no"],
      ["final", node.final ? "yes" : "no"],
      ["path", pathOf(node).join(" → ")],
    ]),
  );
}
