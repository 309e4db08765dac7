"""Training data by name on this machine: files, folders, pieces that together are the whole, and errors that name file and row."""

import gzip
import json
import pickle

import pytest

from reflectioncoder.choices import TextNormalization
from reflectioncoder.data.files import write_jsonl
from reflectioncoder.data.training_sets import find_training_set
from reflectioncoder.errors import UsageError
from tests.conftest import generation_sample, reflection_sample

ROWS = [{"query": f"q{number} é", "answer": "a" * (number % 7 * 40 + 1), "id": number} for number in range(57)]


def parquet(path, rows, **settings):
    pyarrow = pytest.importorskip("pyarrow")
    path.parent.mkdir(parents=True, exist_ok=True)
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path, **settings)
    return path


def arrow(path, rows, size):
    """Write an Arrow file as `datasets` does."""
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=size)
    return path


def found(path, normalization: TextNormalization = "none"):
    return find_training_set(str(path), "generation", normalization)


def ids(samples):
    return [sample.extra["id"] for sample in samples]


@pytest.fixture(params=["jsonl", "no line end", "jsonl.gz", "parquet", "folder"])
def data(request, tmp_path):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode()
    path = tmp_path / f"rows.{request.param}"
    if request.param == "jsonl.gz":
        path.write_bytes(gzip.compress(text))
    elif request.param == "parquet":
        parquet(path, ROWS, row_group_size=5)
    elif request.param == "folder":
        write_jsonl(path / "b.jsonl", ROWS[20:30])
        write_jsonl(path / "c.jsonl", ROWS[30:])
        parquet(path / "a.parquet", ROWS[:20], row_group_size=7)
        (path / "README.md").write_text("not data")
        (path / "inner").mkdir()
    else:
        path = path.with_suffix(".jsonl")
        path.write_bytes(text.rstrip(b"\n") if request.param == "no line end" else text)
    return path


def test_samples_come_in_the_order_of_the_rows(data):
    whole = found(data)
    assert (whole.form, whole.revision, whole.kind) == ("CodeFeedback", None, "generation")
    assert ids(whole.samples()) == list(range(57))
    assert [sample.messages[0].text for sample in whole.samples()] == [row["query"] for row in ROWS]


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5, 8, 60, 500])
def test_parts_are_the_whole_in_order_and_can_be_pickled(data, num_parts):
    parts = pickle.loads(pickle.dumps(found(data).parts(num_parts)))
    assert 1 <= len(parts) <= num_parts
    assert all(list(part.samples()) for part in parts)
    assert ids(sample for part in parts for sample in part.samples()) == list(range(57))


def test_parts_are_of_about_the_same_size(tmp_path):
    rows = [{"query": "q", "answer": "a" * 100}] * 4000
    write_jsonl(tmp_path / "one" / "a.jsonl", rows[:100])
    write_jsonl(tmp_path / "one" / "b.jsonl", rows[:3900])
    for path in (tmp_path / "one", parquet(tmp_path / "p.parquet", rows, row_group_size=100)):
        counts = [sum(1 for _ in part.samples()) for part in found(path).parts(8)]
        assert len(counts) == 8
        assert sum(counts) == 4000
        assert max(counts) <= 1.3 * 500


def test_record_batches_of_arrow_files_are_pieces(tmp_path):
    from reflectioncoder.data.row_files import cut

    pieces = cut(arrow(tmp_path / "a.arrow", ROWS, 10), 3, "hub:a/b", first_row=100)
    assert [piece.num_rows for piece in pieces] == [10, 10, 10, 10, 10, 7]
    assert [row["id"] for piece in pieces for _, row in piece.rows()] == list(range(57))
    both = pieces[1].joined(pieces[2])
    assert both is not None
    assert [row["id"] for _, row in both.rows()] == list(range(10, 30))
    assert both.place(3) == "hub:a/b, row 113"
    assert pieces[1].joined(pieces[3]) is None


def test_reflection_samples_are_the_same_in_every_kind_of_file(tmp_path):
    rows = [reflection_sample(number, steps=number % 3).to_json() for number in range(9)]
    plain = [*found(write_jsonl(tmp_path / "a.jsonl", rows)).samples()]
    assert plain == [reflection_sample(number, steps=number % 3) for number in range(9)]
    assert [*found(parquet(tmp_path / "a.parquet", rows)).samples()] == plain
    packed = [{**row, "messages": json.dumps(row["messages"])} for row in rows]
    assert [*found(parquet(tmp_path / "b.parquet", packed)).samples()] == plain


def test_normalisation_is_part_of_the_identity_and_names_are_not(tmp_path):
    first, copy, other = (
        write_jsonl(tmp_path / name, rows) for name, rows in (("a.jsonl", ROWS), ("b.jsonl", ROWS), ("c.jsonl", ROWS[1:]))
    )
    assert found(first).identity == found(copy).identity
    assert len({found(first).identity, found(other).identity, found(first, "reflectioncoder").identity}) == 3
    assert found(first).to_json()["spec"] == str(first)


def test_a_set_without_rows_has_no_samples(tmp_path):
    (tmp_path / "a.jsonl").write_text("")
    parquet(tmp_path / "a.parquet", ROWS[:1])
    assert list(found(tmp_path / "a.jsonl").samples()) == []
    assert found(tmp_path / "a.jsonl").form == ""
    assert ids(found(tmp_path).samples()) == [0]
    parquet(tmp_path / "b.parquet", [])
    assert [sample for part in found(tmp_path / "b.parquet").parts(2) for sample in part.samples()] == []


@pytest.mark.parametrize("num_parts", [1, 4])
def test_errors_name_file_and_line_in_every_part(tmp_path, num_parts):
    rows = [*ROWS[:40], {"query": "q", "answer": ""}, *ROWS[40:]]
    parts = found(write_jsonl(tmp_path / "a.jsonl", rows)).parts(num_parts)
    with pytest.raises(UsageError, match=r"a\.jsonl:41: answer"):
        [sample for part in parts for sample in part.samples()]
    parts = found(parquet(tmp_path / "a.parquet", rows, row_group_size=5)).parts(num_parts)
    with pytest.raises(UsageError, match=r"a\.parquet, row 40: answer"):
        [sample for part in parts for sample in part.samples()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", r"a\.jsonl:51: not JSON"),
        (b"", r"a\.jsonl:51: empty line"),
        (b"[]", r"a\.jsonl:51: expected a JSON object"),
        (b'{"query": "\xff"}', r"a\.jsonl:51: not JSON: not UTF-8"),
        (b'{"query": "q"}', r"a\.jsonl:51\n"),
        (b'{"query": "q \\ud83d", "answer": "a"}', r"half of a surrogate pair[^~]*a\.jsonl:51[^~]*\\ud83d"),
        (b'{"query": "q", "answer": "a", "id": "\\udc00"}', r"half of a surrogate pair[^~]*a\.jsonl:51"),
    ],
)
def test_malformed_lines_are_errors_with_their_number_in_any_part(tmp_path, line, message):
    lines = [json.dumps(row).encode() for row in ROWS]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*lines[:50], line, *lines[50:]]) + b"\n")
    for num_parts in (1, 5):
        with pytest.raises(UsageError, match=message):
            [sample for part in found(tmp_path / "a.jsonl").parts(num_parts) for sample in part.samples()]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


CASES = {
    "missing": (lambda p: p / "no.jsonl", r"file not found: .*no\.jsonl"),
    "a name of the hub without hub:": (lambda p: "owner/name", r"hub:NAME"),
    "another suffix": (lambda p: write(p / "a.csv", b"x"), r"\.csv'\n  allowed: \.jsonl"),
    "an empty folder": (lambda p: p, "no data files in this folder"),
    "a folder without data": (lambda p: write(p / "notes.txt", b"x").parent, r"(?s)no data files.*notes\.txt.*\.parquet"),
    "a damaged Parquet file": (lambda p: write(p / "a.parquet", b"PAR1 nonsense PAR1"), r"a\.parquet cannot be read as Parquet"),
    "an empty Parquet file": (lambda p: write(p / "a.parquet", b""), r"a\.parquet cannot be read as Parquet"),
    "a damaged packed file": (lambda p: write(p / "a.jsonl.gz", b"no gzip"), r"a\.jsonl\.gz cannot be unpacked"),
    "unknown columns of a table": (
        lambda p: parquet(p / "a.parquet", [{"x": 1}]),
        r"a\.parquet, row 0: rows of an unknown form\n  columns: x",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_training_data_is_one_clear_error(case, tmp_path):
    make, message = CASES[case]
    with pytest.raises(UsageError, match=message):
        found(make(tmp_path))


def test_parquet_that_is_damaged_in_the_middle_is_an_error_when_it_is_read(tmp_path):
    path = parquet(tmp_path / "a.parquet", ROWS * 20, row_group_size=100, compression="snappy")
    whole = found(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 - 200 : len(data) // 2] = b"\xff" * 200
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"a\.parquet cannot be read as Parquet"):
        list(whole.samples())


def test_rows_of_another_form_are_errors(tmp_path):
    write_jsonl(tmp_path / "a.jsonl", [generation_sample().to_json(), ROWS[0]])
    with pytest.raises(UsageError, match=r"(?s)form \(reflection samples\).*a\.jsonl:2.*'query'.*allowed: messages"):
        list(found(tmp_path / "a.jsonl").samples())
