"use strict";

/** The element of the page with this id. */
const byId = (id) => document.getElementById(id);

/**
 * A new element. Children are elements or texts: what the data says only ever enters the page as text.
 * An attribute that is false, null or undefined is left out.
 */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A definition list of [term, value] pairs; those without a value are left out. */
function facts(pairs, attributes = {}) {
  const given = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "dl",
    attributes,
    ...given.map(([term, value]) => element("div", {}, element("dt", {}, term), element("dd", {}, String(value)))),
  );
}

/** {a: 2, b: 1} as "a 2, b 1". */
const counted = (counts) => Object.entries(counts).map(([name, count]) => `${name} ${count}`).join(", ");
