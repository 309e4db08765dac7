// The tasks of a benchmark: filters, one tile and one row per task, and both programs of the chosen one.

const CHANGES = { g: "gained", l: "lost", b: "both", n: "neither", u: "no verdict in both" };
const PAGE_SIZE = 50;
const isPassed = (side) => side.status === "passed" || side.status === "pass";
const programOf = (side) => (side && side.program !== undefined ? data.programs[side.program] : "");
const topicOf = (task) => (task.id.includes("/") ? task.id.slice(0, task.id.lastIndexOf("/")) : "");

// Why a program is missing or fails: how it was found in the answer, and the kind of its error.
function reasonsOf(side) {
  const error = /^\s*(\w+(?:Error|Exception|Warning|Exit))\b/m.exec([side.error || "", ...Object.values(side.details || {})].join("\n"));
  return [side.reason, error && error[1]].filter(Boolean);
}

class Explorer {
  constructor(root, benchmark) {
    this.root = root;
    this.benchmark = benchmark;
    this.find = (name) => root.querySelector(name);
    this.chosen = null;
    this.shown = PAGE_SIZE;
    this.fillControls();
    root.querySelectorAll(".controls select, .controls input").forEach((control) => control.addEventListener("input", () => {
      this.shown = PAGE_SIZE;
      this.draw();
    }));
    this.find(".more").addEventListener("click", () => { this.shown += PAGE_SIZE * 4; this.draw(); });
    this.find(".task-detail").addEventListener("keydown", (event) => this.onKey(event));
    this.draw();
  }

  fillControls() {
    const { pairs, sides, tasks } = this.benchmark;
    pairs.forEach((pair, number) => addOption(this.find(".pick-pair"), number, pair.label));
    if (!pairs.length) addOption(this.find(".pick-pair"), "", sides[0] + " alone");
    this.find(".pick-pair").parentElement.hidden = pairs.length < 2;
    this.find(".pick-change").parentElement.hidden = !pairs.length;
    const all = tasks.flatMap((task) => task.sides.filter(Boolean));
    this.fill(".pick-status", all.map((side) => side.status));
    this.fill(".pick-reason", all.flatMap(reasonsOf));
    this.fill(".pick-topic", tasks.map(topicOf));
  }

  // A choice that would not choose anything is not offered.
  fill(name, values) {
    const select = this.find(name), distinct = [...new Set(values)].filter(Boolean).sort();
    addOption(select, "", "all");
    for (const value of distinct) addOption(select, value, value);
    select.parentElement.hidden = distinct.length < 2;
  }

  pair() {
    const chosen = this.find(".pick-pair").value;
    return chosen === "" ? { a: 0, b: 0, changes: "u".repeat(this.benchmark.tasks.length) } : this.benchmark.pairs[chosen];
  }

  matching(pair) {
    const [change, status, reason, topic, search] = [".pick-change", ".pick-status", ".pick-reason", ".pick-topic", ".search"].map((name) => this.find(name).value);
    const wanted = search.trim().toLowerCase();
    const has = (text) => text.toLowerCase().includes(wanted);
    return this.benchmark.tasks.map((task, number) => number).filter((number) => {
      const task = this.benchmark.tasks[number], letter = pair.changes[number];
      const sides = [task.sides[pair.a], task.sides[pair.b]].filter(Boolean);
      return (!change || letter === change || (change === "flipped" && "gl".includes(letter)))
        && (!status || sides.some((side) => side.status === status))
        && (!reason || sides.some((side) => reasonsOf(side).includes(reason)))
        && (!topic || topicOf(task) === topic)
        && (!wanted || has(task.id) || sides.some((side) => has(programOf(side))));
    });
  }

  draw() {
    const pair = this.pair();
    this.found = this.matching(pair);
    this.find(".found").textContent = `${this.found.length} of ${this.benchmark.tasks.length} tasks`;
    this.find(".tiles").replaceChildren(...this.found.map((number) => this.tile(number, pair)));
    this.find(".head-a").textContent = this.benchmark.sides[pair.a];
    this.find(".head-b").textContent = this.benchmark.sides[pair.b];
    this.root.classList.toggle("alone", !this.benchmark.pairs.length);
    this.find("tbody").replaceChildren(...this.found.slice(0, this.shown).map((number) => this.row(number, pair)));
    this.find(".more").hidden = this.found.length <= this.shown;
    if (this.chosen !== null) this.showTask();
  }

  tile(number, pair) {
    const task = this.benchmark.tasks[number], letter = pair.changes[number];
    const tile = button("", () => this.choose(number));
    tile.className = "tile " + letter + (number === this.chosen ? " chosen" : "");
    tile.title = task.id + ": " + CHANGES[letter];
    tile.tabIndex = -1; // the table below has the same tasks for the keyboard
    return tile;
  }

  row(number, pair) {
    const task = this.benchmark.tasks[number], letter = pair.changes[number];
    const row = element("tr", number === this.chosen ? "chosen" : "");
    const opener = button(task.id, () => this.choose(number));
    opener.className = "task";
    row.appendChild(element("th")).append(opener);
    row.firstChild.scope = "row";
    row.append(element("td", "change", CHANGES[letter]));
    for (const side of [task.sides[pair.a], task.sides[pair.b]]) {
      const cell = row.appendChild(element("td"));
      if (side) cell.append(element("span", "status " + (isPassed(side) ? "passed" : "other"), side.status));
      if (side && !isPassed(side)) cell.append(element("span", "dim", " " + reasonsOf(side).join(", ")));
    }
    return row;
  }

  choose(number) {
    const detail = this.find(".task-detail");
    this.chosen = number === this.chosen && !detail.hidden ? null : number;
    detail.hidden = this.chosen === null;
    this.draw();
    if (this.chosen === null) return;
    detail.focus({ preventScroll: true });
    detail.scrollIntoView({ block: "nearest" });
  }

  onKey(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (event.key === "Escape") this.choose(this.chosen);
    else if (step && event.target === event.currentTarget) this.move(step);
    else return;
    event.preventDefault();
  }

  move(step) {
    const next = this.found[this.found.indexOf(this.chosen) + step];
    if (next !== undefined) this.choose(next);
  }

  showTask() {
    const pair = this.pair(), task = this.benchmark.tasks[this.chosen], detail = this.find(".task-detail");
    const [a, b] = [task.sides[pair.a], task.sides[pair.b]];
    const head = element("div", "detail-head");
    head.append(element("h4", "", task.id), element("span", "dim", CHANGES[pair.changes[this.chosen]]), button("previous", () => this.move(-1)),
      button("next", () => this.move(1)), button("close", () => this.choose(this.chosen)));
    detail.replaceChildren(head, this.programs(a, b, pair));
    const notes = element("div", "pair");
    const both = pair.a === pair.b ? [[pair.a, a]] : [[pair.a, a], [pair.b, b]];
    for (const [number, side] of both) notes.append(sideNotes(this.benchmark.sides[number], side));
    detail.append(notes);
  }

  programs(a, b, pair) {
    const [textA, textB] = [programOf(a), programOf(b)], language = this.benchmark.language;
    const box = element("div", "scroll");
    if (pair.a === pair.b || textA === textB) {
      if (pair.a !== pair.b && textA) box.append(element("p", "dim", "Both programs are the same."));
      box.append(textA ? plainTable(textA, language) : element("p", "dim", "No program is here."));
    } else box.append(diffTable(textA, textB, language, this.root.clientWidth > 700));
    return box;
  }
}

function sideNotes(label, side) {
  const box = element("div"), head = box.appendChild(element("p"));
  head.append(label + ": ", element("span", "status " + (side && isPassed(side) ? "passed" : "other"), side ? side.status : "not run"));
  if (!side) return box;
  if (side.program === undefined) box.append(element("p", "dim", "no program, or left out of this page"));
  const list = element("ul", "tests");
  [...(side.tests || "")].slice(0, 50).forEach((passed, number) => {
    const detail = (side.details || {})[number];
    list.append(element("li", passed === "1" ? "ok" : "no", `test ${number + 1} ${passed === "1" ? "passes" : "fails"}` + (detail ? ": " + detail : "")));
  });
  if (list.children.length) box.append(list);
  if (side.error) box.append(element("pre", "error", side.error));
  if (side.reason) box.append(element("p", "dim", "program found as: " + side.reason));
  return box;
}

for (const root of document.querySelectorAll(".explorer")) new Explorer(root, data.benchmarks[root.dataset.benchmark]);
