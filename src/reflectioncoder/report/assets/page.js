"use strict";
const data = JSON.parse(document.getElementById("data").textContent);

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// --- one tile per task; a click shows both programs and their tests -------------------------------------------------------

function showSide(which, side) {
  const box = element("div");
  const head = element("p");
  head.append(which + ": ", element("span", "status " + (side && side.status === "passed" ? "passed" : "other"), side ? side.status : "not run"));
  box.append(head);
  if (!side) return box;
  box.append(element("pre", "", side.solution || side.raw || "(no program)"));
  side.tests.forEach((passed, number) => {
    const detail = side.details[number];
    box.append(element("div", "test " + (passed ? "ok" : "no"), "test " + (number + 1) + (detail ? ": " + detail : "")));
  });
  if (side.stderr_tail && side.status !== "passed") box.append(element("p", "dim", side.stderr_tail));
  if (side.extraction) box.append(element("p", "dim", "extraction: " + side.extraction));
  return box;
}

function showTask(container, tile, task) {
  const open = container.parentElement.querySelector(".tile.chosen");
  if (open) open.classList.remove("chosen");
  container.replaceChildren();
  container.hidden = open === tile;
  if (container.hidden) return;
  tile.classList.add("chosen");
  container.append(element("h3", "", task.task_id));
  const pair = element("div", "pair");
  pair.append(showSide("base", task.base), showSide("trained", task.trained));
  container.append(pair);
}

for (const tiles of document.querySelectorAll(".tiles")) {
  const benchmark = data.runs[tiles.dataset.run].benchmarks[tiles.dataset.benchmark];
  const detail = tiles.parentElement.querySelector(".task-detail");
  for (const task of benchmark.tasks) {
    const tile = element("button", "tile " + task.change);
    tile.title = task.task_id + ": " + task.change;
    tile.setAttribute("aria-label", tile.title);
    tile.addEventListener("click", () => showTask(detail, tile, task));
    tiles.append(tile);
  }
}

// --- the viewer of reflection sequences -----------------------------------------------------------------------------------

function drawSequence(viewer, sample) {
  const view = viewer.querySelector(".pick-view").value;
  const strategy = viewer.querySelector(".pick-strategy").value;
  const step = Number(viewer.querySelector(".pick-rate").value);
  viewer.querySelector(".rate").textContent = data.rates[step].toFixed(2);
  // What the mask hides of the reflection, and what is hidden from the student at any rate.
  const masked = new Set();
  for (const [start, end] of [...sample.hidden[strategy][step], ...sample.frame_hidden]) for (let p = start; p < end; p++) masked.add(p);
  const output = viewer.querySelector(".tokens");
  output.replaceChildren();
  let seen = 0, trained = 0;
  for (const span of sample.spans) {
    for (let p = span.start; p < span.end; p++) {
      const hidden = view !== "teacher" && masked.has(p);
      const teacher = sample.teacher_trained[p] === 1, student = sample.student_trained[p] === 1;
      const inLoss = view === "student" ? student && !hidden : teacher || student;
      const classes = ["k-" + span.kind];
      if (view !== "loss" && hidden) classes.push("hidden-token"); else if (view !== "loss") seen++;
      if (inLoss) { classes.push("trained-token"); trained++; } else if (view === "loss") classes.push("untrained-token");
      output.append(element("span", classes.join(" "), sample.tokens[p]));
    }
  }
  const counts = view === "loss" ? trained + " tokens trained by teacher or student" : seen + " of " + sample.tokens.length + " tokens visible, " + trained + " trained";
  viewer.querySelector(".counts").textContent = " · " + counts;
}

for (const viewer of document.querySelectorAll(".viewer")) {
  const sequences = data.runs[viewer.dataset.run].sequences;
  const samples = viewer.querySelector(".pick-sample"), strategies = viewer.querySelector(".pick-strategy");
  sequences.forEach((sample, number) => {
    const option = element("option", "", (sample.id || "sample " + number) + (sample.operators.length ? " (" + sample.operators.join(", ") + ")" : ""));
    option.value = number;
    samples.append(option);
  });
  for (const strategy of Object.keys(sequences[0].hidden)) strategies.append(element("option", "", strategy));
  strategies.value = "block_type";
  const draw = () => drawSequence(viewer, sequences[samples.value]);
  viewer.querySelectorAll("select, input").forEach((control) => control.addEventListener("input", draw));
  draw();
}
