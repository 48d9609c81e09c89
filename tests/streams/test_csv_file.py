import pytest

from srwm.errors import UserError
from srwm.streams.csv_file import read_samples


def read(tmp_path, content, target="y"):
    path = tmp_path / "file.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_samples(path, target))


def test_numbers_categories_and_missing_values(tmp_path):
    found = read(tmp_path, "a,y,b\n1.5,yes,red\n, no ,-2e3\nnan,,inf\n")
    assert found == [({"a": 1.5, "b": "red"}, "yes"), ({"b": -2000.0}, "no"), ({}, None)]


def test_texts_that_stand_for_missing_values(tmp_path):
    found = read(tmp_path, "a,b,y\nNA,?,?\nn/a,NULL,NA\n1_000,none,u\n")
    assert found == [({}, "?"), ({}, "NA"), ({"a": "1_000", "b": "none"}, "u")]
    path = tmp_path / "file.csv"
    assert [row for row, _ in read_samples(path, "y", missing=["None"])] == [
        {"a": "NA", "b": "?"},
        {"a": "n/a", "b": "NULL"},
        {"a": "1_000"},
    ]


def test_quotes_blank_lines_a_byte_order_mark_and_line_ends_of_windows(tmp_path):
    found = read(tmp_path, b'\xef\xbb\xbf"a ""x""",y\r\n"1\n2",u\r\n\r\n3,v\r\n')
    assert found == [({'a "x"': "1\n2"}, "u"), ({'a "x"': 3.0}, "v")]


def test_rows_are_read_as_they_are_asked_for(tmp_path):
    path = tmp_path / "file.csv"
    path.write_text("a,y\n1,u\n1,2,3\n")
    samples = read_samples(path, "y")
    assert next(samples) == ({"a": 1.0}, "u")
    with pytest.raises(UserError, match="line 3: expected 2 cells, as in the first row, got 3"):
        next(samples)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,y\n1,u\n2\n", "line 3: expected 2 cells"),
        ("a,b\n1,2\n", "expected a column 'y', got 'a', 'b'"),
        ("a,a,y\n1,2,3\n", "got 'a' twice"),
        ("a,y\n", "expected rows below the names of the columns, got none"),
        ("", "got an empty file"),
        (b"a,y\n1,\xff\n", "expected text in UTF-8, got byte 0xff"),
        ('a,y\n"1"2,u\n', "line 2: expected CSV"),
        ("a,y\n1,u\n" + "x" * 140_000 + ",u\n", "line 3: expected CSV"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, content, message):
    with pytest.raises(UserError, match=r"file\.csv") as caught:
        read(tmp_path, content)
    assert message in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nothing\.csv: there is no such file"):
        next(read_samples(tmp_path / "nothing.csv", "y"))
    with pytest.raises(UserError, match="expected a file, got a folder"):
        next(read_samples(tmp_path, "y"))
