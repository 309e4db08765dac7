// Two programs line by line: a longest common subsequence, shown in two columns or, on narrow screens, in one.

const MAX_CELLS = 4000000;

// Returns pairs [line of a or null, line of b or null], in order; a changed line stands beside what it became.
function alignedLines(a, b) {
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start++;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
  const rows = [];
  for (let i = 0; i < start; i++) rows.push([i, i]);
  rows.push(...alignedMiddle(a, b, start, endA, endB));
  for (let i = 0; endA + i < a.length; i++) rows.push([endA + i, endB + i]);
  return rows;
}

function alignedMiddle(a, b, start, endA, endB) {
  const n = endA - start, m = endB - start, rows = [];
  let removed = [], added = [];
  const flush = () => {
    for (let i = 0; i < Math.max(removed.length, added.length); i++) rows.push([removed[i] ?? null, added[i] ?? null]);
    removed = []; added = [];
  };
  const common = n * m <= MAX_CELLS ? lengthsOfCommon(a, b, start, n, m) : null;
  let i = 0, j = 0;
  while (i < n || j < m) {
    if (common && i < n && j < m && a[start + i] === b[start + j]) { flush(); rows.push([start + i++, start + j++]); }
    else if (i < n && (j === m || !common || common[(i + 1) * (m + 1) + j] >= common[i * (m + 1) + j + 1])) removed.push(start + i++);
    else added.push(start + j++);
  }
  flush();
  return rows;
}

function lengthsOfCommon(a, b, start, n, m) {
  const lengths = new Uint16Array((n + 1) * (m + 1));
  for (let i = n - 1; i >= 0; i--) {
    for (let j = m - 1; j >= 0; j--) {
      lengths[i * (m + 1) + j] = a[start + i] === b[start + j] ? lengths[(i + 1) * (m + 1) + j + 1] + 1
        : Math.max(lengths[(i + 1) * (m + 1) + j], lengths[i * (m + 1) + j + 1]);
    }
  }
  return lengths;
}

// Returns [from, to of a, to of b]: what differs between two lines; nothing if they have little in common.
function changedPart(a, b) {
  let from = 0, endA = a.length, endB = b.length;
  while (from < endA && from < endB && a[from] === b[from]) from++;
  while (endA > from && endB > from && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
  const alike = a.length - (endA - from);
  return alike * 2 >= Math.max(a.length, b.length) ? [from, endA, endB] : [0, 0, 0];
}

function diffTable(textA, textB, language, split) {
  const [a, b] = [textA, textB].map((text) => highlighted(text, language));
  const [plainA, plainB] = [a, b].map((lines) => lines.map((line) => line.map((part) => part[0]).join("")));
  const table = element("table", "diff " + (split ? "split" : "unified"));
  const body = table.appendChild(element("tbody"));
  const cells = (row, side, number, from, to) => {
    const [lines, sign, kind] = side === "a" ? [a, "−", "removed"] : [b, "+", "added"];
    const changed = row.dataset.same === undefined;
    row.append(element("td", "no", number === null ? "" : (changed ? sign : " ") + (number + 1)));
    const cell = row.appendChild(element("td", "code" + (number === null ? " none" : changed ? " " + kind : "")));
    if (number !== null) appendLine(cell, lines[number], from, to);
  };
  const newRow = (same) => {
    const row = body.appendChild(element("tr"));
    if (same) row.dataset.same = "";
    return row;
  };
  let later = [];
  const flush = () => { for (const [number, from, to] of later) cells(newRow(false), "b", number, from, to); later = []; };
  for (const [i, j] of alignedLines(plainA, plainB)) {
    const same = i !== null && j !== null && plainA[i] === plainB[j];
    const [from, toA, toB] = !same && i !== null && j !== null ? changedPart(plainA[i], plainB[j]) : [0, 0, 0];
    if (split) {
      const row = newRow(same);
      cells(row, "a", i, from, toA);
      cells(row, "b", j, from, toB);
    } else if (same) { flush(); cells(newRow(true), "b", j, 0, 0); }
    else {
      if (i !== null) cells(newRow(false), "a", i, from, toA);
      if (j !== null) later.push([j, from, toB]);
    }
  }
  flush();
  return table;
}

function plainTable(text, language) {
  const table = element("table", "diff unified");
  const body = table.appendChild(element("tbody"));
  highlighted(text, language).forEach((line, i) => {
    const row = body.appendChild(element("tr"));
    row.append(element("td", "no", String(i + 1)));
    appendLine(row.appendChild(element("td", "code")), line);
  });
  return table;
}
