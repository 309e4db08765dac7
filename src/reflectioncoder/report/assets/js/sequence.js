// The viewer of reflection sequences: one sample at a mask rate, by mouse, by keyboard, or played from rate 0 to 1.

const PLAY_MS = 350;

class SequenceViewer {
  constructor(root, sequences) {
    this.root = root;
    this.sequences = sequences;
    this.find = (name) => root.querySelector(name);
    this.timer = null;
    sequences.forEach((sample, number) => {
      const kinds = sample.operators.length ? ` (${sample.operators.join(", ")})` : "";
      addOption(this.find(".pick-sample"), number, (sample.id || "sample " + (number + 1)) + kinds);
    });
    for (const strategy of Object.keys(sequences[0].hidden)) addOption(this.find(".pick-strategy"), strategy, strategy);
    this.find(".pick-strategy").value = root.dataset.strategy;
    root.querySelectorAll("select, input").forEach((control) => control.addEventListener("input", () => this.draw()));
    this.find(".play").addEventListener("click", () => this.toggle());
    this.find(".tokens").addEventListener("keydown", (event) => this.onKey(event));
    this.draw();
  }

  onKey(event) {
    const actions = {
      ArrowLeft: () => this.moveRate(-1), ArrowRight: () => this.moveRate(1),
      ArrowUp: () => this.moveSample(-1), ArrowDown: () => this.moveSample(1), " ": () => this.toggle(),
    };
    if (event.ctrlKey || event.altKey || event.metaKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  }

  moveRate(step) {
    const rate = this.find(".pick-rate");
    rate.value = Number(rate.value) + step;
    this.draw();
  }

  moveSample(step) {
    const samples = this.find(".pick-sample");
    samples.value = Math.min(Math.max(Number(samples.value) + step, 0), this.sequences.length - 1);
    this.draw();
  }

  toggle() {
    if (this.timer) return this.stop();
    const rate = this.find(".pick-rate");
    if (rate.value === rate.max) rate.value = 0;
    if (this.find(".pick-view").value === "teacher") this.find(".pick-view").value = "student"; // the teacher's view never changes
    this.find(".play").textContent = "stop";
    this.find(".play").setAttribute("aria-pressed", "true");
    this.timer = setInterval(() => {
      this.moveRate(1);
      if (rate.value === rate.max) this.stop();
    }, PLAY_MS);
    this.draw();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.find(".play").textContent = "play";
    this.find(".play").setAttribute("aria-pressed", "false");
  }

  draw() {
    const sample = this.sequences[this.find(".pick-sample").value];
    const view = this.find(".pick-view").value, step = Number(this.find(".pick-rate").value);
    this.find(".rate").textContent = data.rates[step].toFixed(2);
    // What the mask hides of the reflection, and what is hidden from the student at any rate.
    const masked = new Uint8Array(sample.tokens.length);
    for (const [start, end] of [...sample.hidden[this.find(".pick-strategy").value][step], ...sample.frame_hidden]) masked.fill(1, start, end);
    const output = this.find(".tokens");
    output.replaceChildren();
    let seen = 0, trained = 0;
    for (const [kind, start, end] of sample.spans) {
      let last = null, node = null;
      for (let p = start; p < end; p++) {
        const hidden = view !== "teacher" && masked[p] === 1;
        const teacher = sample.teacher_trained[p] === 1, student = sample.student_trained[p] === 1;
        const inLoss = view === "student" ? student && !hidden : teacher || student;
        if (!hidden) seen++;
        if (inLoss) trained++;
        const look = (view !== "loss" && hidden ? " hidden-token" : "") + (inLoss ? " trained-token" : view === "loss" ? " untrained-token" : "");
        if (look !== last) { // neighbours that look alike are one element
          node = output.appendChild(element(view !== "loss" && hidden ? "del" : "span", "k-" + kind + look, ""));
          last = look;
        }
        node.textContent += sample.tokens[p];
      }
    }
    const counts = view === "loss" ? `${trained} tokens trained by teacher or student` : `${seen} of ${sample.tokens.length} tokens visible, ${trained} trained`;
    if (!this.timer) this.find(".counts").setAttribute("role", "status"); else this.find(".counts").removeAttribute("role");
    this.find(".counts").textContent = counts;
  }
}

for (const root of document.querySelectorAll(".viewer")) new SequenceViewer(root, data.viewers[root.dataset.viewer]);
