"""Makes the Parquet files in the folder parquet, types.csv, which holds what types-*.parquet do, and seeds for fuzzing.

Run with pandas 3.1.1, polars 2.1.0 and pyarrow 26.0.1: python3 parquet.py
"""

import datetime
import decimal
from pathlib import Path

import pandas
import polars
import pyarrow
import pyarrow.parquet

HERE = Path(__file__).parent
FOLDER = HERE / "parquet"
ROWS = 10


def missing(values, *rows):
    """The values, with nothing in some rows."""
    return [None if row in rows else value for row, value in enumerate(values)]


def types():
    """A column of each type that is read, most of them with values missing."""
    numbers = [(row - 5) * 11 for row in range(ROWS)]
    columns = {
        "i8": (pyarrow.int8(), missing(numbers, 1)),
        "i16": (pyarrow.int16(), missing([300 * n for n in numbers], 2)),
        "i32": (pyarrow.int32(), missing([30_000_000 * n for n in numbers], 3)),
        "i64": (pyarrow.int64(), [2**55 * n + 1 for n in numbers]),
        "u8": (pyarrow.uint8(), missing([n % 256 for n in numbers], 4, 5)),
        "u16": (pyarrow.uint16(), [n % 2**16 for n in numbers]),
        "u32": (pyarrow.uint32(), missing([n % 2**32 for n in numbers], 9)),
        "u64": (pyarrow.uint64(), [n % 2**64 for n in numbers]),
        "half": (pyarrow.float16(), [n / 8 for n in numbers]),
        "single": (pyarrow.float32(), missing([n * 1.25e30 for n in numbers], 0)),
        "double": (pyarrow.float64(), missing([n * 0.1 for n in numbers], 7, 8)),
        "flag": (pyarrow.bool_(), missing([n % 3 == 0 for n in numbers], 6)),
        "short": (pyarrow.decimal128(7, 3), missing([decimal.Decimal(n * 17) / 1000 for n in numbers], 2)),
        "long": (pyarrow.decimal128(38, 10), [decimal.Decimal(n) * 10**20 + decimal.Decimal("0.1") for n in numbers]),
        "colour": (pyarrow.string(), missing([["red", "green", "blue"][row % 3] for row in range(ROWS)], 4)),
        "word": (pyarrow.dictionary(pyarrow.int32(), pyarrow.string()), ["one" if n < 0 else "two, \"three\"" for n in numbers]),
        "answer": (pyarrow.string(), ["no" if n % 2 else "yes" for n in numbers]),
    }
    return pyarrow.table({name: pyarrow.array(values, kind) for name, (kind, values) in columns.items()})


def as_text(value):
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return str(value)


def write_types():
    table = types()
    lines = [",".join(table.column_names)]
    lines += [",".join(as_text(row[name]) for name in table.column_names) for row in table.to_pylist()]
    (FOLDER / "types.csv").write_text("\n".join(lines) + "\n")

    def write(name, **options):
        pyarrow.parquet.write_table(table, FOLDER / f"types-{name}.parquet", row_group_size=4, **options)

    for compression in ["none", "snappy", "gzip", "zstd", "lz4"]:
        write(compression, compression=compression)
    write("second-pages", compression="zstd", data_page_version="2.0", data_page_size=32, store_decimal_as_integer=True)
    encodings = {name: "DELTA_BINARY_PACKED" for name in ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"]}
    encodings |= {name: "BYTE_STREAM_SPLIT" for name in ["half", "single", "double", "long"]}
    encodings |= {name: "DELTA_LENGTH_BYTE_ARRAY" for name in ["colour", "answer"]}
    write("encodings", use_dictionary=False, column_encoding=encodings)
    # polars has no half precision in Parquet.
    frame = polars.from_arrow(table.drop_columns(["half"]))
    frame.write_parquet(FOLDER / "types-polars.parquet", row_group_size=4)


def write_data():
    pandas.read_csv(HERE / "diabetes.csv").to_parquet(FOLDER / "diabetes.parquet")
    digits = pandas.read_csv(HERE / "digits.csv").astype("int8")
    options = {"row_group_size": 1000, "write_statistics": False, "store_schema": False}
    digits.to_parquet(FOLDER / "digits.parquet", compression="zstd", **options)


def write_refused():
    """Columns that hold no numbers, beside one that does."""
    table = pyarrow.table({
        "number": [1.0, 2.0],
        "target": [1.0, 2.0],
        "list": [[1], [2, 3]],
        "record": [{"a": 1, "b": {"c": 2}}, {"a": 3, "b": {"c": 4}}],
        "date": [datetime.date(2020, 1, 1)] * 2,
        "time": [datetime.time(1, 2)] * 2,
        "moment": [datetime.datetime(2020, 1, 1)] * 2,
        "text": ["a", "b"],
        "bytes": pyarrow.array([b"ab", b"cd"], pyarrow.binary(2)),
        "not_utf8": pyarrow.array([b"\xff", b"a"], pyarrow.binary()),
        "large": pyarrow.array([1.0, 1e39]),
        "huge": pyarrow.array([decimal.Decimal(1)] * 2, pyarrow.decimal256(60, 2)),
        "nothing": pyarrow.nulls(2),
    })
    pyarrow.parquet.write_table(table, FOLDER / "refused.parquet", use_deprecated_int96_timestamps=False)
    one = table.select(["target", "text"])
    pyarrow.parquet.write_table(one, FOLDER / "brotli.parquet", compression="brotli")
    pyarrow.parquet.write_table(
        one, FOLDER / "delta-byte-array.parquet", use_dictionary=False, column_encoding={"text": "DELTA_BYTE_ARRAY"}
    )
    old = pyarrow.table({"target": [1.0, 2.0], "moment": [datetime.datetime(2020, 1, 1)] * 2})
    pyarrow.parquet.write_table(old, FOLDER / "int96.parquet", use_deprecated_int96_timestamps=True)
    frame = pandas.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 0.0, 1.0, 0.0]})
    frame[frame.a != 3].to_parquet(FOLDER / "index.parquet")


def write_seeds():
    """Seeds of the fuzz target parquet: two bytes that say how the file behind them is read (tests/properties)."""

    def write(name, ways, more, columns, **options):
        options = {"store_schema": False, "write_statistics": False, "compression": "none"} | options
        file = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), file, **options)
        (HERE / "../fuzz/seeds/parquet" / f"{name}.parquet").write_bytes(bytes([ways, more]) + file.getvalue().to_pybytes())

    # As classes; with the mean for missing values, or without such samples.
    classes, mean, drop = 2, 8, 4
    # The target y, and whether c1 is a category or the only feature.
    target, category, alone = 0x80, 1, 2
    numbers = {
        "c1": pyarrow.array([1, 2, None, 4], pyarrow.int32()),
        "c2": pyarrow.array([1.5, float("nan"), 3, 4]),
        "y": pyarrow.array([1, 2, 3, 4]),
    }
    write("plain", mean, target, numbers, use_dictionary=False)
    write("dropped", drop, target, numbers, compression="snappy")
    write("groups", mean, target, numbers, compression="zstd", row_group_size=2)
    write("gzip-second-pages", mean, target, numbers, compression="gzip", data_page_version="2.0")
    text = {"c1": ["a", "b", "a", None], "y": ["u", "v", "u", "v"]}
    write("text", mean | classes, target | category, text)
    encoding = {"c1": "DELTA_LENGTH_BYTE_ARRAY", "y": "PLAIN"}
    lengths = {"compression": "lz4", "use_dictionary": False, "column_encoding": encoding}
    write("text-lengths", mean | classes, target | category, text, **lengths)
    types = {
        "c1": pyarrow.array([1, -2, 3]),
        "c2": pyarrow.array([decimal.Decimal("1.5"), None, decimal.Decimal("-0.25")], pyarrow.decimal128(20, 2)),
        "c3": pyarrow.array([1, 2, None], pyarrow.float16()),
        "c4": pyarrow.array([True, None, False]),
        "y": pyarrow.array([1, 2, 3], pyarrow.uint8()),
    }
    encoding = {"c1": "DELTA_BINARY_PACKED", "c2": "BYTE_STREAM_SPLIT", "c3": "BYTE_STREAM_SPLIT", "c4": "PLAIN", "y": "PLAIN"}
    write("types", mean, target, types, compression="snappy", use_dictionary=False, column_encoding=encoding)
    nested = {"c1": [[1], [2]], "c2": [{"a": 1, "b": 2}] * 2, "c3": [1.0, 2.0], "y": [1.0, 2.0]}
    write("nested", 0, target | alone, nested, compression="snappy")


FOLDER.mkdir(exist_ok=True)
write_types()
write_data()
write_refused()
write_seeds()
