# SPDX-License-Identifier: BSD-3-Clause
"""Tables of pandas, polars and pyarrow: numbers, names, texts and what is missing."""

import copy
import datetime
import pickle

import numpy as np
import pytest
from processes import python
from snapshot import digest, everything

import fastnn as fn

pytest.importorskip("narwhals")
ROWS = 30
GENERATOR = np.random.default_rng(0)
NUMBERS = {
    "age": GENERATOR.integers(20, 60, ROWS),
    "height": GENERATOR.normal(size=ROWS),
    "member": GENERATOR.random(ROWS) > 0.5,
}
ARRAY = np.column_stack([np.asarray(column, float) for column in NUMBERS.values()])
JOBS = ["cook", "smith", None, "baker", "cook"] * (ROWS // 5)
CODES = [1, 2, -1, 0, 1] * (ROWS // 5)
TOWNS = ["Rome", "Oslo", "Rome"] * (ROWS // 3)
Y = ARRAY[:, 1] ** 2


def pandas(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def pandas_nullable(columns):
    return pandas(columns).convert_dtypes()


def polars(columns):
    return pytest.importorskip("polars").DataFrame(columns)


def arrow(columns):
    return pytest.importorskip("pyarrow").table(columns)


MAKERS = [pandas, pandas_nullable, polars, arrow]
every = pytest.mark.parametrize("make", MAKERS)


def regressor(first=None):
    return fn.Sequential([*([] if first is None else [first]), fn.Dense(5, "tanh"), fn.Dense(1)], seed=0)


def table():
    return fn.Table(numeric=["age", "height"], categorical=["job", "town"])


def people(make, rows=slice(None)):
    columns = {"job": JOBS, "age": NUMBERS["age"], "town": TOWNS, "height": NUMBERS["height"]}
    return make({name: column[rows] for name, column in columns.items()})


def same(one, other):
    assert digest(one._parameters.numbers) == digest(other._parameters.numbers)


@every
def test_numbers_are_those_of_the_array(make):
    one, other = regressor(), regressor()
    frame = make(NUMBERS)
    one.fit(ARRAY, Y, epochs=2, validation_data=(ARRAY, Y), verbose=0)
    other.fit(frame, Y, epochs=2, validation_data=(frame, Y), verbose=0)
    same(one, other)
    assert one.history.history["val_loss"] == other.history.history["val_loss"]
    assert other.feature_names == ("age", "height", "member") and one.feature_names is None
    assert digest(one.predict(ARRAY)) == digest(other.predict(frame)) == digest(other.predict(ARRAY))
    assert one.evaluate(ARRAY, Y) == other.evaluate(frame, Y)
    assert one.train_step(ARRAY, Y) == other.train_step(frame, Y)
    assert digest(one.forward(ARRAY, training=True)) == digest(other.forward(frame, training=True))
    assert str(one.health(ARRAY)) == str(other.health(frame))
    assert digest(one.jacobian(ARRAY)) == digest(other.jacobian(frame))
    assert digest(one.input_gradient(ARRAY, Y)) == digest(other.input_gradient(frame, Y))
    assert one.find_learning_rate(ARRAY, Y).suggestion == other.find_learning_rate(frame, Y).suggestion
    assert fn.check_gradients(one, ARRAY, Y, tol=1) == fn.check_gradients(other, frame, Y, tol=1)
    fresh = regressor()
    found, wanted = fresh.find_learning_rate(frame, Y), regressor().find_learning_rate(ARRAY, Y)
    assert digest(found.losses) == digest(wanted.losses)
    assert fresh.feature_names is None


@every
def test_targets_in_a_table_or_a_column(make):
    one = regressor()
    one.fit(ARRAY, Y, epochs=2, verbose=0)
    frame = make({"y": Y})
    for y in (frame, frame["y"]):
        other = regressor()
        other.fit(ARRAY, y, epochs=2, verbose=0)
        same(one, other)
        assert other.feature_names is None
    labels = make({"y": np.arange(ROWS) % 3})["y"]
    fn.Sequential([fn.Dense(3, "softmax")], seed=0).fit(ARRAY, labels, epochs=1, verbose=0)
    with pytest.raises((ValueError, TypeError), match="encoded as 0, 1, 2"):
        fn.Sequential([fn.Dense(3, "softmax")], seed=0).fit(ARRAY, make({"y": TOWNS})["y"], verbose=0)
    with pytest.raises((ValueError, TypeError), match=r"y.*(missing|nan)"):
        regressor().fit(ARRAY, make({"y": [None, 2] * (ROWS // 2)})["y"], verbose=0)


@pytest.mark.parametrize("make", [pandas, polars, arrow])  # the nullable ones of pandas are chosen by pandas
def test_types_stay_small(make):
    from fastnn.frames import read_features

    net = regressor()
    found, names = read_features(net, make({"a": np.ones(3, "f4"), "b": np.array([1, 2, 3], "i2")}))
    assert found.dtype == np.float32 and names == ("a", "b")
    assert read_features(net, make({"a": np.arange(3, dtype="u1")}))[0].dtype == np.uint8
    assert read_features(net, make({"a": [True, False]}))[0].dtype == np.bool_


# ---- names -----------------------------------------------------------------------------------------------------------


@every
def test_other_names_are_refused(make):
    net = regressor()
    net.fit(make(NUMBERS), Y, epochs=1, verbose=0)
    before = everything(net)
    other_order = make({name: NUMBERS[name] for name in ("age", "member", "height")})
    other_names = make({"age": NUMBERS["age"], "height": NUMBERS["height"], "weight": NUMBERS["height"]})
    fewer = make({"age": NUMBERS["age"]})
    calls = (net.predict, net.health, lambda x: net.forward(x, training=True), lambda x: net.fit(x, Y, verbose=0),
             lambda x: net.evaluate(x, Y), lambda x: net.train_step(x, Y))  # fmt: skip
    for frame, words in (
        (other_order, "another order: column 1 is 'member', but the network was fitted with 'height' there"),
        (other_names, "without 'member', and with 'weight'"),
        (fewer, "without 'height', 'member'"),
    ):
        for call in calls:
            with pytest.raises(ValueError, match=words):
                call(frame)
    with pytest.raises(ValueError, match=r"validation_data\[0\] has its columns in another order"):
        net.fit(make(NUMBERS), Y, validation_data=(other_order, Y), verbose=0)
    assert everything(net) == before and net.feature_names == tuple(NUMBERS)


@every
def test_names_are_saved(make, tmp_path):
    net = regressor()
    net.fit(make(NUMBERS), Y, epochs=1, verbose=0)
    net.save(tmp_path / "model.fnn")
    for other in (fn.load(tmp_path / "model.fnn"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert other.feature_names == tuple(NUMBERS)
        with pytest.raises(ValueError, match="another order"):
            other.predict(make({name: NUMBERS[name] for name in ("age", "member", "height")}))


def test_names_come_with_the_first_table():
    net = regressor()
    net.fit(ARRAY, Y, epochs=1, verbose=0)
    net.predict(pandas(NUMBERS))
    assert net.feature_names is None
    net.fit(pandas(NUMBERS), Y, epochs=1, verbose=0)
    net.fit(ARRAY, Y, epochs=1, verbose=0)
    assert net.feature_names == tuple(NUMBERS)
    net = regressor()
    with pytest.raises(ValueError):
        net.fit(pandas(NUMBERS), Y[:-1], verbose=0)
    assert net.feature_names is None
    net.fit(pandas(dict(enumerate(NUMBERS.values()))), Y, epochs=1, verbose=0)  # numbers are no names
    assert net.feature_names is None


# ---- texts -----------------------------------------------------------------------------------------------------------


@every
def test_texts_are_numbered(make, tmp_path):
    plain = np.column_stack([CODES, NUMBERS["age"], [1, 0, 1] * (ROWS // 3), NUMBERS["height"]])
    one = regressor(fn.Table(numeric=[1, 3], categorical=[0, 2]))
    other = regressor(table())
    one.fit(plain, Y, epochs=3, verbose=0)
    other.fit(people(make), Y, epochs=3, verbose=0)
    same(one, other)
    layer = other.layers[0]
    assert layer.texts == {0: ("baker", "cook", "smith"), 2: ("Oslo", "Rome")}
    assert layer.categories == one.layers[0].categories == {0: 3, 2: 2} and layer.numeric == (1, 3)
    assert repr(layer) == repr(one.layers[0])
    other.save(tmp_path / "model.fnn")
    for net in (other, fn.load(tmp_path / "model.fnn"), pickle.loads(pickle.dumps(other))):
        assert digest(net.predict(people(make))) == digest(one.predict(plain)) == digest(net.predictor()(plain))
        assert net.layers[0].texts == layer.texts
    fresh = regressor(table())
    before = everything(fresh)
    assert len(fresh.find_learning_rate(people(make), Y).losses)
    assert everything(fresh) == before
    new = make({"job": ["pilot"], "age": [30], "town": ["Oslo"], "height": [0.5]})
    assert digest(other.predict(new)) == digest(one.predict([[-1, 30, 0, 0.5]]))
    other.fit(people(make), Y, epochs=1, verbose=0)
    one.fit(plain, Y, epochs=1, verbose=0)
    same(one, other)


CALLS = {
    "predict": lambda net, x: net.predict(x),
    "predict, threads": lambda net, x: net.predict(x, threads=2),
    "predict a stream": lambda net, x: net.predict([x, x]),
    "a row": lambda net, x: net.predict(x[0]),
    "lists": lambda net, x: net.predict(x.tolist()),
    "objects": lambda net, x: net.predict(x.astype(object)),
    "forward": lambda net, x: net.forward(x, training=True),
    "evaluate": lambda net, x: net.evaluate(x, Y),
    "evaluate a stream": lambda net, x: net.evaluate([(x, Y)]),
    "fit": lambda net, x: net.fit(x, Y, verbose=0),
    "fit a stream": lambda net, x: net.fit([(x, Y)], verbose=0),
    "validation": lambda net, x: net.fit(people(pandas), Y, validation_data=(x, Y), verbose=0),
    "validation by a stream": lambda net, x: net.fit(people(pandas), Y, validation_data=[(x, Y)], verbose=0),
    "train_step": lambda net, x: net.train_step(x, Y),
    "find_learning_rate": lambda net, x: net.find_learning_rate(x, Y),
    "health": lambda net, x: net.health(x),
    "jacobian": lambda net, x: net.jacobian(x),
    "input_gradient": lambda net, x: net.input_gradient(x, Y),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("make", [pandas, polars])
def test_numbers_in_place_of_texts_are_refused(call, make):
    """They would be read as codes, of whatever numbering."""
    net = regressor(table())
    net.fit(people(make), Y, epochs=1, verbose=0)
    codes = np.column_stack([CODES, NUMBERS["age"], [1, 0, 1] * (ROWS // 3), NUMBERS["height"]])
    before = everything(net)
    with pytest.raises(TypeError) as raised:
        call(net, codes)
    for words in (
        "column 'job' held text when the network was fitted",
        "hand over a table with the columns 'job', 'age', 'town', 'height'",
        "net.predictor() takes codes, the places in Table.texts[0]",
    ):
        assert words in str(raised.value)
    assert everything(net) == before


def test_texts_in_columns_without_names():
    pd = pytest.importorskip("pandas")
    net = regressor(fn.Table(numeric=[1], categorical=[0]))
    net.fit(pd.DataFrame({0: JOBS, 1: NUMBERS["age"]}), Y, epochs=1, verbose=0)
    assert net.feature_names is None and net.layers[0].texts[0] == ("baker", "cook", "smith")
    with pytest.raises(TypeError, match=r"X is a ndarray, but column 0 held text.*the columns it was fitted to"):
        net.predict(np.ones((3, 2)))


def test_an_array_is_fine_where_categories_were_numbers():
    net = regressor(fn.Table(numeric=["height"], categorical=["age"]))
    frame = pandas({"age": NUMBERS["age"], "height": NUMBERS["height"]})
    net.fit(frame, Y, epochs=1, verbose=0)
    assert digest(net.predict(frame.to_numpy())) == digest(net.predict(frame))


def test_categorical_types():
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    one = regressor(table())
    one.fit(people(pandas), Y, epochs=2, verbose=0)
    for frame in (
        people(pandas).astype({"job": "category", "town": "category"}),
        people(pandas).assign(town=pd.Series(TOWNS, dtype="string")),
        people(polars).with_columns(pl.col("job").cast(pl.Categorical), pl.col("town").cast(pl.Enum(["Rome", "Oslo"]))),
    ):
        other = regressor(table())
        other.fit(frame, Y, epochs=2, verbose=0)
        same(one, other)


def test_categories_that_are_numbers_have_one_name():
    """Where values are missing, pandas makes floats of whole numbers: 2 must not become "2.0"."""
    pd = pytest.importorskip("pandas")
    net = regressor(fn.Table(categorical=["rooms"]))
    net.fit(pd.DataFrame({"rooms": pd.Series([2, 10, 3] * 10, dtype="category")}), Y, epochs=2, verbose=0)
    assert net.layers[0].texts == {0: ("10", "2", "3")}
    for rooms in ([2, 10, None, 3], [2.0, 10.0, None, 3.0]):
        found = net.predict(pd.DataFrame({"rooms": pd.Series(rooms, dtype="category")}))
        assert np.array_equal(found[[0, 1, 3]], net.predict(pd.DataFrame({"rooms": ["2", "10", "3"]})))
        assert found[2] == net.predict(pd.DataFrame({"rooms": ["another"]}))[0]


def nothing(make, kind):
    """Two rows of people who have no job, as their libraries say it where they have nothing to tell the type from."""
    missing = [np.nan] * 2 if kind == "NaN" else [None] * 2
    return make({"job": missing, "age": [30.0, 40.0], "town": missing, "height": [1.7, 1.8]})


@every
@pytest.mark.parametrize("kind", ["null", "NaN"])
def test_a_column_may_be_missing_as_a_whole(make, kind):
    if kind == "NaN" and make is pandas_nullable:
        pytest.skip("there it is null")
    net = regressor(table())
    net.fit(people(make), Y, epochs=1, verbose=0)
    other = make({"job": ["pilot"] * 2, "age": [30.0, 40.0], "town": ["Bern"] * 2, "height": [1.7, 1.8]})
    assert np.array_equal(net.predict(nothing(make, kind)), net.predict(other))
    if kind == "null":
        with pytest.raises((ValueError, TypeError), match=r"'job'.*(missing|Object|text)"):
            regressor().fit(nothing(make, kind), Y[:2], verbose=0)


@pytest.mark.parametrize("kind", ["UInt8", "UInt64", "uint16[pyarrow]", "polars", "Int128", "arrow"])
def test_missing_categories_of_numbers_without_a_sign(kind):
    rooms = [1, None, 3, 0, 2] * (ROWS // 5)
    if kind in ("polars", "Int128"):
        pl = pytest.importorskip("polars")
        frame = pl.DataFrame({"rooms": pl.Series(rooms, dtype=pl.UInt8 if kind == "polars" else pl.Int128)})
    elif kind == "arrow":
        pa = pytest.importorskip("pyarrow")
        frame = pa.table({"rooms": pa.array(rooms, pa.uint32())})
    else:
        pd = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        frame = pd.DataFrame({"rooms": pd.Series(rooms, dtype=kind)})
    net, one = regressor(fn.Table(categorical=["rooms"])), regressor(fn.Table(categorical=[0]))
    net.fit(frame, Y, epochs=2, verbose=0)
    one.fit(np.array([[-1 if room is None else room] for room in rooms]), Y, epochs=2, verbose=0)
    same(one, net)


@every
def test_numbers_as_categories(make):
    rooms = [1, None, 3, 0, 2] * (ROWS // 5)
    layer = fn.Table(numeric=["height"], categorical={"rooms": None, "member": 2})
    net = regressor(layer)
    net.fit(make({"rooms": rooms, "height": NUMBERS["height"], "member": NUMBERS["member"]}), Y, epochs=2, verbose=0)
    plain = np.column_stack([[-1 if r is None else r for r in rooms], NUMBERS["height"], NUMBERS["member"]])
    one = regressor(fn.Table(numeric=[1], categorical=[0, 2]))
    one.fit(plain, Y, epochs=2, verbose=0)
    same(one, net)
    assert net.layers[0].texts == {}


@every
def test_columns_nobody_reads(make):
    net = regressor(fn.Table(numeric=["age"]))
    net.fit(people(make), Y, epochs=1, verbose=0)
    assert net.layers[0].texts == {} and net.feature_names == ("job", "age", "town", "height")


def test_a_stream_of_tables():
    one, other = regressor(table()), regressor(table())
    one.fit(people(pandas), Y, epochs=2, batch_size=10, shuffle=False, verbose=0)
    with pytest.warns(UserWarning, match="first batch"):
        other.fit([(people(pandas, slice(i, i + 10)), Y[i : i + 10]) for i in (0, 10, 20)], epochs=2, verbose=0)
    assert other.layers[0].texts == one.layers[0].texts and other.feature_names == one.feature_names
    with pytest.raises(ValueError, match=r"batch 2 of epoch 1: X has other columns.*without 'town'"):
        given = [(people(pandas), Y), (people(pandas).drop(columns="town"), Y)]
        other.fit(given, epochs=1, verbose=0)


# ---- what is refused -------------------------------------------------------------------------------------------------


def changed(name, values):
    return {**NUMBERS, name: values}


REFUSED = {
    "text": (changed("age", TOWNS), TypeError, ["column 'age' holds text", "Table(categorical=['age'"]),
    "a date": (changed("age", [datetime.datetime(2020, 1, 2)] * ROWS), TypeError, ["column 'age'", "numbers"]),
    "null": (changed("age", [1, 2, None] * (ROWS // 3)), ValueError, ["column 'age' has 10 missing", "row 2", "fill"]),
    "NaN": (changed("height", [1.0, np.nan] * (ROWS // 2)), ValueError, ["'height' has 15 missing", "row 1", "drop"]),
    "a missing bool": (changed("member", [True, None] * (ROWS // 2)), (ValueError, TypeError), ["column 'member'"]),
}  # fmt: skip


@every
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(make, case):
    columns, error, words = case
    frame = make(columns)
    net = regressor()
    for _ in range(2):
        before = everything(net)
        with pytest.raises(error) as raised:
            net.fit(frame, Y, verbose=0)
        assert all(word in str(raised.value) for word in words), str(raised.value)
        assert everything(net) == before
        net.fit(make(NUMBERS), Y, epochs=1, verbose=0)
    with pytest.raises(error, match="X: column"):
        net.predict(frame)


def test_tables_that_do_not_fit():
    cases = [
        (fn.Table(categorical=["jobs"]), "names the column 'jobs', which X does not have: it has job, age"),
        (fn.Table(categorical=["job"], numeric=[0]), "column 0 is named twice"),
        (fn.Table(categorical={"job": None, 0: 3}), "given twice"),
        (fn.Table(categorical={"job": 2}), "column 'job' holds 3 different texts, but Table was told of 2"),
        (fn.Table(numeric=["job"]), "column 'job' holds text"),
    ]
    for layer, words in cases:
        net = regressor(layer)
        before = everything(net)
        with pytest.raises((ValueError, TypeError), match=words):
            net.fit(people(pandas), Y, verbose=0)
        assert everything(net) == before
    net = regressor(table())
    before = everything(net)
    with pytest.raises(ValueError, match="names the column 'age', but the columns of X have no names"):
        net.fit(ARRAY, Y, verbose=0)
    with pytest.raises(ValueError, match="y has shape"):
        net.fit(people(pandas), Y[:-1], verbose=0)
    assert everything(net) == before
    with pytest.raises(ValueError, match="names the column 'age': leave out inputs="):
        fn.Sequential([table(), fn.Dense(1)], inputs=4)
    pickle.loads(pickle.dumps(net)).fit(people(pandas), Y, epochs=1, verbose=0)
    net.fit(people(pandas), Y, epochs=1, verbose=0)
    with pytest.raises(TypeError, match=r"column 'job' has dtype .*held text when the network was fitted"):
        net.predict(people(pandas).assign(job=3))
    numbered = regressor(fn.Table(categorical=["job"]))
    numbered.fit(people(pandas).assign(job=3), Y, epochs=1, verbose=0)
    with pytest.raises(TypeError, match=r"column 'job' holds text.*held none when the network was fitted"):
        numbered.predict(people(pandas))


def test_lazy_tables_and_columns_of_one_name():
    pl, pd = pytest.importorskip("polars"), pytest.importorskip("pandas")
    with pytest.raises(TypeError, match=r"LazyFrame.*\.collect\(\)"):
        regressor().fit(pl.LazyFrame(NUMBERS), Y, verbose=0)
    with pytest.raises(ValueError, match="cannot be read as a table"):
        regressor().fit(pd.DataFrame(ARRAY, columns=["a", "a", "b"]), Y, verbose=0)


def test_what_is_refused_says_what_may_help():
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    mixed = pd.DataFrame({"member": pd.Series([True, None] * (ROWS // 2), dtype=object)})
    with pytest.raises(TypeError, match=r"'member' has dtype Object.*convert_dtypes"):
        regressor().fit(mixed, Y, verbose=0)
    with pytest.raises(TypeError, match=r"'member' has dtype Object.*convert_dtypes"):
        regressor(fn.Table(categorical=["member"])).fit(mixed, Y, verbose=0)
    regressor(fn.Table(categorical=["member"])).fit(mixed.convert_dtypes(), Y, epochs=1, verbose=0)
    with pytest.raises(TypeError, match=r"'age' has dtype Sparse\[int64, 0\], but numbers are needed"):
        regressor().fit(pd.DataFrame({"age": pd.arrays.SparseArray([0, 1, 2] * 10)}), Y, verbose=0)
    with pytest.raises(ValueError, match="'age' has 1 missing value, the first in row 2"):
        regressor().fit(pd.DataFrame({"age": [0, 1, None] + [1] * 27}), Y, verbose=0)
    with pytest.raises(TypeError, match=r"X is a RecordBatch.*Table.from_batches"):
        regressor().fit(pa.record_batch({"age": [0.0] * ROWS}), Y, verbose=0)


def test_nothing_is_imported_for_arrays():
    python(
        """
        import sys, numpy as np, fastnn as fn
        net = fn.Sequential([fn.Table(numeric=[0], categorical=[1]), fn.Dense(1)], seed=0)
        net.fit(np.eye(2), [1.0, 2.0], epochs=1, verbose=0)
        net.fit([(np.eye(2), [1.0, 2.0])], epochs=1, verbose=0)
        net.predict([[1, 0]])
        assert not {"narwhals", "scipy", "pandas", "polars", "pyarrow"} & set(sys.modules)
        """
    )


def test_without_narwhals():
    printed = python(
        """
        import sys
        sys.modules["narwhals"] = None
        import numpy as np, pandas as pd, fastnn as fn
        net = fn.Sequential([fn.Dense(1)], inputs=2, seed=0)
        try:
            net.predict(pd.DataFrame(np.eye(2)))
        except ImportError as error:
            print(error)
        net.fit(np.eye(2), pd.Series([1.0, 2.0]), epochs=1, verbose=0)
        """
    )
    assert "pandas DataFrame" in printed and "pip install 'fastnn-cpu[dataframe]'" in printed


def test_the_name_of_a_file_that_lies(tmp_path):
    from fastnn import files

    net = regressor()
    net.fit(pandas(NUMBERS), Y, epochs=1, verbose=0)
    net._feature_names = ("a", "b")
    with pytest.raises(ValueError, match="feature_names"):
        files.from_bytes(files.to_bytes(net))
