// Colours for comments, strings, numbers and the common keywords of all languages: enough to find one's way in a short program.

const KEYWORDS = new Set(("and as assert async await begin bool boolean break case catch char class const continue def default defer del do double " +
  "elif else elseif end enum except export extends extern false finally float fn for foreach from fun func function global go goto if impl implements " +
  "import in include int interface is lambda let local long loop match mod module mut my namespace new nil None nonlocal not null object or package pass " +
  "private protected pub public raise range require return self static string struct sub super switch template then this throw throws trait true True " +
  "False try type typedef typename unless until use using val var void when where while with yield").split(" "));

const COMMENTS = { py: "#.*", r: "#.*", rb: "#.*", jl: "#.*", sh: "#.*", pl: "#.*", lua: "--.*", rkt: ";.*", php: "(?:#|\\/\\/).*|\\/\\*[^]*?\\*\\/" };
const OTHER_COMMENTS = "\\/\\/.*|\\/\\*[^]*?\\*\\/";
const STRINGS = '"""[^]*?(?:"""|$)|\'\'\'[^]*?(?:\'\'\'|$)|"(?:[^"\\\\\\n]|\\\\.)*"?|\'(?:[^\'\\\\\\n]|\\\\.)*\'?|`[^`\\n]*`';

// Returns the lines of a program, each a list of [text, class].
function highlighted(text, language) {
  const pattern = new RegExp(`(${COMMENTS[language] || OTHER_COMMENTS})|(${STRINGS})|(\\b\\d[\\w.]*)|([A-Za-z_]\\w*)`, "g");
  const lines = [[]];
  const add = (part, kind) => part.split("\n").forEach((piece, i) => {
    if (i) lines.push([]);
    if (piece) lines[lines.length - 1].push([piece, kind]);
  });
  let end = 0;
  for (const found of text.matchAll(pattern)) {
    add(text.slice(end, found.index), "");
    const kind = found[1] ? "h-comment" : found[2] ? "h-string" : found[3] ? "h-number" : KEYWORDS.has(found[4]) ? "h-keyword" : "";
    add(found[0], kind);
    end = found.index + found[0].length;
  }
  add(text.slice(end), "");
  if (lines.length > 1 && !lines[lines.length - 1].length) lines.pop();
  return lines;
}

// Appends a highlighted line; the characters [from, to) are marked as what changed in it.
function appendLine(parent, line, from = 0, to = 0) {
  let position = 0;
  for (const [text, kind] of line) {
    const cuts = [0, from - position, to - position, text.length].map((cut) => Math.min(Math.max(cut, 0), text.length));
    for (let i = 0; i < 3; i++) {
      if (cuts[i] < cuts[i + 1]) parent.append(element(i === 1 ? "mark" : "span", kind, text.slice(cuts[i], cuts[i + 1])));
    }
    position += text.length;
  }
}
