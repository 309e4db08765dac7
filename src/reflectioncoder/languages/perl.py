"""Perl: its tests end with an exit code and print nothing."""

from reflectioncoder.languages.language import AssertionSyntax, HarnessRule, Language, MultiplE, Recorder, TaskFile, Words
from reflectioncoder.sandbox.toolchain import Toolchain

PERL = Language(
    name="pl",
    fence="perl",
    toolchain=Toolchain(
        title="Perl",
        needs=("perl",),
        files=("/usr/share/perl5/Test/Deep.pm",),
        install="apt install perl libtest-deep-perl",
        source="main.pl",
        run=("perl", "main.pl"),
    ),
    multipl_e=MultiplE(
        files={"pl": TaskFile("humaneval-pl.jsonl", "949048bff3eaea7ae47cd5759042c088a7c227d53c74fe95a80728fd5aefbf77", 161)},
        assertions=AssertionSyntax(r"\bif\(", call=r"\$candidate->\(", tail=r'\s*\{\s*print "ok!"\s*\}\s*else\s*\{\s*exit 1;\s*\}'),
        recorder=Recorder(
            row="${name}->({row}, scalar({condition}));",
            start='my ${name} = sub {{ my ($row, $held) = @_; local ($\\, $,); open(my $file, ">>", $ENV{{{file}}}); '
            'print {{$file}} "$row ", $held ? 1 : 0, "\\n"; close($file); }};',
        ),
        wrong_answer=None,
        syntax_error=r"syntax error at|compilation errors|Missing right curly",
        harness=HarnessRule(fails_with=Words("ERROR")),
    ),
)
