"""Rust."""

from reflectioncoder.languages.language import AssertionSyntax, AuthorsCut, HarnessRule, Language, MultiplE, Recorder, TaskFile
from reflectioncoder.sandbox.toolchain import Toolchain

RUST = Language(
    name="rs",
    fence="rust",
    toolchain=Toolchain(
        title="Rust",
        needs=("rustc",),
        install="apt install rustc",
        source="main.rs",
        build=("rustc", "--edition", "2021", "-o", "main", "main.rs"),
        outputs=("main",),
        run=("./main",),
    ),
    multipl_e=MultiplE(
        files={"rs": TaskFile("humaneval-rs.jsonl", "e33f562838e973b7e6b8d76dbc1fb84b076d7426629b4cdc624f12678778d2fa", 156)},
        assertions=AssertionSyntax(r"\bassert_eq!\("),
        recorder=Recorder(
            row="{name}({row}, {name}!({condition}));",
            start="macro_rules! {name} {{ ($left:expr, $right:expr $(,)?) => {{ "
            "match (&$left, &$right) {{ (left, right) => *left == *right }} }} }}\n"
            'fn {name}(row: usize, held: bool) {{ use std::io::Write; let path = std::env::var("{file}").unwrap(); '
            "let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap(); "
            'file.write_all(format!("{{}} {{}}\\n", row, held as u8).as_bytes()).unwrap(); }}',
        ),
        wrong_answer=r"assertion .*failed",
        syntax_error=None,
        harness=HarnessRule(tells_slow_builds=True),
        authors_cut=AuthorsCut(("\nfn main()",)),
    ),
)
