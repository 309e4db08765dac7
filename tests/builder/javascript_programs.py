"""JavaScript problems with references of 5 to 30 lines, in which every kind of slip can be made."""

from reflectioncoder.data.problems import parse_problem


def _problem(name, parameters, text, body, *tests):
    return parse_problem(
        {
            "task_id": f"own/{name}",
            "language": "js",
            "prompt": f"// {text}\nfunction {name}({parameters}) {{\n",
            "entry_point": name,
            "canonical_solution": f"{body.strip(chr(10))}\n}}\n",
            "tests": list(tests),
            "grade": 3,
        }
    )


PROBLEMS = [
    _problem(
        "top_scores",
        "scores, n",
        "The n highest scores, highest first. The array of the caller stays as it is.",
        """
  if (n <= 0) {
    return [];
  }
  const sorted = [...scores].sort((a, b) => b - a);
  return sorted.slice(0, n);
""",
        "assert.deepStrictEqual(top_scores([10, 9, 100, 2], 2), [100, 10]);",
        "assert.deepStrictEqual(top_scores([], 3), []);",
        "assert.deepStrictEqual(top_scores([1, 2], 0), []);",
        "assert.deepStrictEqual((() => { const xs = [1, 3, 2]; top_scores(xs, 1); return xs; })(), [1, 3, 2]);",
    ),
    _problem(
        "longest_run",
        "xs",
        "Length of the longest run of equal neighbours.",
        """
  let best = 0;
  let current = 0;
  for (let i = 0; i < xs.length; i++) {
    if (i > 0 && xs[i] === xs[i - 1]) {
      current += 1;
    } else {
      current = 1;
    }
    best = Math.max(best, current);
  }
  return best;
""",
        "assert.strictEqual(longest_run([1, 1, 2, 2, 2, 3]), 3);",
        "assert.strictEqual(longest_run([]), 0);",
        "assert.strictEqual(longest_run([5]), 1);",
        'assert.strictEqual(longest_run(["1", 1, 1]), 2);',
    ),
    _problem(
        "balance",
        "transactions",
        "The balance after a list of transactions such as {kind: 'deposit', amount: 3}. Unknown kinds throw an Error.",
        """
  let total = 0;
  for (const { kind, amount } of transactions) {
    switch (kind) {
      case "deposit":
        total += amount;
        break;
      case "withdraw":
        total -= amount;
        break;
      default:
        throw new Error(`unknown kind: ${kind}`);
    }
  }
  return total;
""",
        'assert.strictEqual(balance([{ kind: "deposit", amount: 5 }, { kind: "withdraw", amount: 2 }]), 3);',
        "assert.strictEqual(balance([]), 0);",
        'assert.throws(() => balance([{ kind: "steal", amount: 1 }]), /unknown kind: steal/);',
    ),
    _problem(
        "flatten",
        "value",
        "Flattens nested arrays to any depth.",
        """
  if (!Array.isArray(value)) {
    return [value];
  }
  const result = [];
  for (const item of value) {
    result.push(...flatten(item));
  }
  return result;
""",
        "assert.deepStrictEqual(flatten([1, [2, [3, []]], 4]), [1, 2, 3, 4]);",
        "assert.deepStrictEqual(flatten([]), []);",
        "assert.deepStrictEqual(flatten(7), [7]);",
    ),
    _problem(
        "grid",
        "rows, columns, cells",
        "A table of rows x columns zeros in which the given cells are 1.",
        """
  const table = Array.from({ length: rows }, () => new Array(columns).fill(0));
  for (const [row, column] of cells) {
    table[row][column] = 1;
  }
  return table;
""",
        "assert.deepStrictEqual(grid(2, 2, [[0, 1]]), [[0, 1], [0, 0]]);",
        "assert.deepStrictEqual(grid(1, 3, []), [[0, 0, 0]]);",
        "assert.deepStrictEqual(grid(0, 3, []), []);",
    ),
    _problem(
        "run_queue",
        "commands",
        "Runs commands on a queue: ['add', x] or ['take']; returns what was taken, null from an empty queue.",
        """
  class Queue {
    constructor() {
      this.items = [];
    }

    add(item) {
      this.items.push(item);
    }

    take() {
      return this.items.length === 0 ? null : this.items.shift();
    }
  }

  const queue = new Queue();
  const taken = [];
  for (const [command, item] of commands) {
    if (command === "add") {
      queue.add(item);
    } else if (command === "take") {
      taken.push(queue.take());
    }
  }
  return taken;
""",
        'assert.deepStrictEqual(run_queue([["add", 1], ["add", 2], ["take"]]), [1]);',
        'assert.deepStrictEqual(run_queue([["take"]]), [null]);',
        'assert.deepStrictEqual(run_queue([["add", 1], ["take"], ["take"]]), [1, null]);',
    ),
    _problem(
        "word_counts",
        "text",
        "[word, count] pairs, commonest first, ties by alphabet. Case does not count.",
        r"""
  const counts = new Map();
  for (const word of text.toLowerCase().split(/\s+/).filter(part => part !== "")) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts.entries()].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0]));
""",
        'assert.deepStrictEqual(word_counts("b a B c"), [["b", 2], ["a", 1], ["c", 1]]);',
        'assert.deepStrictEqual(word_counts("  "), []);',
        'assert.deepStrictEqual(word_counts("x"), [["x", 1]]);',
    ),
    _problem(
        "parse_total",
        "text",
        "Sums the integers in a text such as '3;4; 5'; empty parts count as 0.",
        """
  const parts = text.split(";");
  let total = 0;
  let index = 0;
  while (index < parts.length) {
    const part = parts[index].trim();
    total += part === "" ? 0 : parseInt(part, 10);
    index++;
  }
  return total;
""",
        'assert.strictEqual(parse_total("3;4; 5"), 12);',
        'assert.strictEqual(parse_total(""), 0);',
        'assert.strictEqual(parse_total("7;;1"), 8);',
    ),
    _problem(
        "fibonacci",
        "n, memory = {}",
        "The n-th Fibonacci number, with a memory.",
        """
  if (n < 2) {
    return n;
  }
  if (memory[n] !== undefined) {
    return memory[n];
  }
  memory[n] = fibonacci(n - 1, memory) + fibonacci(n - 2, memory);
  return memory[n];
""",
        "assert.strictEqual(fibonacci(10), 55);",
        "assert.strictEqual(fibonacci(0), 0);",
        "assert.strictEqual(fibonacci(1), 1);",
    ),
    _problem(
        "spread_of",
        "values",
        "Largest minus smallest value; 0 for an empty array.",
        """
  return values.length === 0 ? 0 : Math.max(...values) - Math.min(...values);
""",
        "assert.strictEqual(spread_of([3, 9, -1]), 10);",
        "assert.strictEqual(spread_of([]), 0);",
        "assert.strictEqual(spread_of([4]), 0);",
    ),
    _problem(
        "find_gap",
        "values, limit",
        "The first position from which a value is more than limit above the one before; -1 if there is none.",
        """
  const gaps = values.map((value, index) => index > 0 && value - values[index - 1] > limit);
  const found = gaps.indexOf(true);
  if (found === -1) {
    return -1;
  }
  return found;
""",
        "assert.strictEqual(find_gap([1, 2, 9], 3), 2);",
        "assert.strictEqual(find_gap([1], 3), -1);",
        "assert.strictEqual(find_gap([5, 1, 5], 4), -1);",
        "assert.strictEqual(find_gap([0, 5], 4), 1);",
    ),
]
