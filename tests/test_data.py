"""Samples from descriptions and files."""

import contextlib
import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from overalign.data import read_sample, read_split
from overalign.errors import DataFileError, ProblemError
from overalign.problem import GaussianMixture

X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
Y = np.array([1.0, -1.0, 1.0])


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file


def npz_bytes(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


class TestMixture:
    def test_defaults(self):
        sample = read_sample("mixture", seed=4)
        expected = GaussianMixture(20, 1.5, 1.0).sample(12, 4, separability=0.0)
        assert (sample.x == expected.x).all()
        assert sample.separability >= 0.0

    def test_every_key(self):
        spec = "mixture:dimension=5, n=7, kappa=3, sigma=0.5, separability=none"
        expected = GaussianMixture(5, 3.0, 0.5).sample(7, 1)
        assert (read_sample(spec, seed=1).x == expected.x).all()
        assert read_sample("mixture:kappa=4,separability=0.2", n=5).separability >= 0.2

    @pytest.mark.parametrize(
        ("spec", "n", "says"),
        [
            ("mixture:width=3", None, "'width=3' is not understood; .*dimension, n, kappa"),
            ("mixture:n", None, "'n' is not understood"),
            ("mixture:n=3,n=4", None, "'n=4' is not understood; .* at most once"),
            ("mixture:n=3,", None, "'' is not understood"),
            ("mixture:n=2.5", None, "n is '2.5', expected a whole number"),
            ("mixture:kappa=big", None, "kappa is 'big', expected a number"),
            ("mixture:n=3", 4, "give one"),
            ("mixture", 0, "n is 0"),
            ("mixture", 2.5, "n is 2.5"),
        ],
    )
    def test_bad_descriptions_are_named(self, spec, n, says):
        with pytest.raises(DataFileError, match=says):
            read_sample(spec, n=n)

    def test_values_out_of_range_are_named(self):
        with pytest.raises(ProblemError, match="sigma is 0"):
            read_sample("mixture:sigma=0")
        with pytest.raises(ProblemError, match="separability is 2"):
            read_sample("mixture:separability=2")


class TestDigits:
    def test_classes_balance_and_pixels(self):
        from sklearn.datasets import load_digits

        images, target = load_digits(return_X_y=True)
        sample = read_sample("digits:3,8", seed=0)
        assert sample.x.shape == (60, 64)
        assert (sample.y == np.resize([1.0, -1.0], 60)).all()
        assert sample.x.min() == 0.0
        assert sample.x.max() == 1.0
        for label, digit in ((1.0, 3), (-1.0, 8)):
            known = {row.tobytes() for row in images[target == digit] / 16.0}
            assert {row.tobytes() for row in sample.x[sample.y == label]} <= known
        assert sample.repeated == ()

    def test_not_separable_and_says_by_how_much(self):
        # pixels are >= 0, so exactly the 30 * 30 pairs of unlike digits violate
        assert read_sample("digits:3,8").violating_pairs == 900 / (60 * 59 / 2)
        shares = [
            read_sample("digits:3,8,centred", seed).violating_pairs for seed in range(100, 110)
        ]
        # measured over 60 other draws: 21 % with a scatter of 3 %; five standard errors of the mean
        assert np.mean(shares) == pytest.approx(0.21, abs=5 * 0.03 / 10**0.5)

    def test_centring_subtracts_the_mean_of_the_drawn_images(self):
        raw, centred = read_sample("digits:3,8", 2), read_sample("digits:3,8,centred", 2)
        assert (centred.x == raw.x - raw.x.mean(axis=0)).all()
        assert (centred.y == raw.y).all()

    def test_seed_and_size(self):
        first, again, other = (read_sample("digits: 3, 8", seed, n=11) for seed in (1, 1, 2))
        assert (first.x == again.x).all()
        assert (first.x != other.x).any()
        assert (np.sum(first.y > 0), np.sum(first.y < 0)) == (6, 5)
        swapped = read_sample("digits:8,3", n=10)
        assert swapped.y[0] == 1.0

    @pytest.mark.parametrize(
        "spec",
        [
            "digits",
            "digits:3",
            "digits:3,3",
            "digits:3,10",
            "digits:a,b",
            "digits:3,8,centered",
            "digits:3,centred",
        ],
    )
    def test_bad_classes_are_named(self, spec):
        with pytest.raises(DataFileError, match="expected two different digits 0 to 9"):
            read_sample(spec)

    def test_sizes_out_of_range_are_named(self):
        with pytest.raises(DataFileError, match="needs 1000 images of the digit 3, there are 183"):
            read_sample("digits:3,8", n=2000)
        with pytest.raises(DataFileError, match="two classes need n >= 2"):
            read_sample("digits:3,8", n=1)

    def test_a_missing_scikit_learn_is_named(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
        with pytest.raises(DataFileError, match="scikit-learn, which is not installed; install"):
            read_sample("digits:3,8")


class TestNpz:
    def test_it_is_read(self, write):
        path = write("a.NPZ", npz_bytes(x=X, y=Y, extra=[1]))
        for spec in (path, str(path)):
            sample = read_sample(spec)
            assert (sample.x == X).all()
            assert (sample.y == Y).all()

    def test_integers_and_real_targets(self, write):
        sample = read_sample(write("a.npz", npz_bytes(x=X.astype(int), y=[0.5, 1.5, 2.5])))
        assert not sample.is_classification

    def test_rows_chosen_by_seed_keep_their_order(self, write):
        x = np.arange(1.0, 41.0)[:, None]
        path = write("a.npz", npz_bytes(x=x, y=np.resize([1.0, -1.0], 40)))
        chosen = read_sample(path, seed=3, n=10)
        assert chosen.n == 10
        assert (np.diff(chosen.x[:, 0]) > 0).all()
        assert (chosen.x == read_sample(path, seed=3, n=10).x).all()
        assert (chosen.x != read_sample(path, seed=4, n=10).x).any()

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (npz_bytes(data=X, y=Y), "'x' not found, .*arrays found: 'data', 'y'"),
            (npz_bytes(), "'x' and 'y' not found, .*arrays found: none"),
            (npz_bytes(x=np.array([[None]]), y=[1]), "not a readable .npz of plain numbers"),
            (npz_bytes(x=X, y=Y)[:-30], "not a readable .npz"),
            (b"", "not a readable .npz"),
            (b"hello", "not a readable .npz"),
            (npz_bytes(x=X, y=Y[:2]), "x has 3 rows and y has 2 entries"),
            (npz_bytes(x=X * np.nan, y=Y), r"x\[0, 0\] is nan"),
            (npz_bytes(x=0 * X, y=Y), "row 0 is zero"),
            (npz_bytes(x=X, y=[0, 1, 0]), r"labels are 0 and 1, expected .*where\(y == 1, 1, -1\)"),
            (npz_bytes(x=X, y=[3, 8, 3]), r"labels are 3 and 8, .*where\(y == 8, 1, -1\)"),
        ],
    )
    def test_bad_files_are_named(self, write, content, says):
        path = write("bad.npz", content)
        with pytest.raises(DataFileError, match=says) as caught:
            read_sample(path)
        assert str(path) in str(caught.value)

    def test_a_single_array_is_not_an_archive(self, write):
        stream = io.BytesIO()
        np.save(stream, X)
        with pytest.raises(DataFileError, match="not a readable"):
            read_sample(write("single.npz", stream.getvalue()))

    def test_damaged_bytes_never_escape_as_another_error(self, write):
        whole = npz_bytes(x=X, y=Y)
        generator = np.random.default_rng(0)
        for _ in range(200):
            damaged = bytearray(whole)
            for place in generator.integers(len(whole), size=4):
                damaged[place] = generator.integers(256)
            with contextlib.suppress(DataFileError):
                read_sample(write("damaged.npz", bytes(damaged)))

    def test_too_many_rows_are_named(self, write):
        with pytest.raises(DataFileError, match="n=4 rows asked for, the file has 3"):
            read_sample(write("a.npz", npz_bytes(x=X, y=Y)), n=4)


class TestCsv:
    @settings(deadline=None, max_examples=30)
    @given(
        table=hnp.arrays(
            np.float64,
            st.tuples(st.integers(1, 6), st.integers(2, 5)),
            elements=st.floats(1e-3, 1e3),
        ),
        header=st.booleans(),
    )
    def test_what_is_written_is_read(self, table, header, tmp_path_factory):
        path = tmp_path_factory.mktemp("csv") / "a.csv"
        table[:, -1] = np.resize([1.0, -1.0], len(table))
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream)
            if header:
                writer.writerow([*range(table.shape[1] - 1), "label"])
            writer.writerows([[repr(float(value)) for value in row] for row in table])
        sample = read_sample(path)
        assert (sample.x == table[:, :-1]).all()
        assert (sample.y == table[:, -1]).all()

    def test_marks_blank_lines_and_spaces(self, write):
        sample = read_sample(
            write("a.csv", "\ufeffa, b ,label\r\n\r\n 1, 2 ,1\r\n3,4,-1\r\n,,\r\n")
        )
        assert (sample.x == X[:2]).all()

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("", "no rows of numbers"),
            ("a,label\n", "no rows of numbers"),
            ("1\n2\n", "line 1 has 1 column, expected comma-separated"),
            ("1;2;1\n3;4;-1\n", "line 2 has 1 column, expected comma-separated"),
            ("1,2,1\n3,-1\n", "line 2 has 2 columns, line 1 has 3"),
            ("a,b,label\n1,2,1\n3,x,-1\n", "line 3, column 2 holds 'x'"),
            ("1,two,1\n3,4,-1\n", "line 1, column 2 holds 'two'"),
            ("1,2,1\n3,,-1\n", "line 2, column 2 holds ''"),
            ("1,2,1\nnan,2,-1\n", r"x\[1, 0\] is nan"),
            ("1,2,1\n1,2,0\n", "labels are 0 and 1"),
            ("1,2,cat\n1,2,dog\n", "line 1, column 3 holds 'cat'"),
            ("1,2,?\n3,4,1\n5,6,-1\n", r"line 1, column 3 holds '\?'"),
            ("0,1,\n1,2,1\n0,3,-1\n", "line 1, column 3 holds ''"),
            ("a,2,\n3,4,1\n", "line 1, column 1 holds 'a'"),
            (b"\xff\xfe1,2", "not a readable text file"),
            ('1,"2\n', "not a readable text file"),
        ],
    )
    def test_bad_files_are_named(self, write, content, says):
        path = write("bad.csv", content)
        with pytest.raises(DataFileError, match=says) as caught:
            read_sample(path)
        assert str(path) in str(caught.value)


class TestSources:
    @pytest.mark.parametrize("spec", ["", "blobs", "data.txt", "Mixture", "archive.tar.gz"])
    def test_unknown_sources_list_the_known_ones(self, spec):
        with pytest.raises(DataFileError, match=r"not a data source; expected \"mixture.*FILE.csv"):
            read_sample(spec)

    def test_missing_files_and_folders(self, tmp_path):
        with pytest.raises(DataFileError, match="no such file"):
            read_sample(tmp_path / "none.csv")
        (tmp_path / "folder.npz").mkdir()
        with pytest.raises(DataFileError, match="not a file"):
            read_sample(tmp_path / "folder.npz")

    @pytest.mark.parametrize("spec", ["mixture", "digits:3,8"])
    def test_bad_seeds_are_named(self, spec):
        with pytest.raises(ProblemError, match="seed is -1"):
            read_sample(spec, seed=-1)


class TestSplit:
    def test_mixture_is_the_sample_and_its_law(self):
        split = read_split("mixture:n=6,kappa=3,dimension=7", seed=3)
        assert (split.train.x == read_sample("mixture:n=6,kappa=3,dimension=7", seed=3).x).all()
        law = split.mixture
        assert (law.dimension, law.kappa, law.sigma) == (7, 3.0, 1.0)
        assert split.held_out is None
        assert 0.0 < split.report.acceptance_rate <= 1.0

    @pytest.mark.parametrize("seed", [0, 1])
    def test_every_row_of_a_file_is_on_one_side(self, write, seed):
        x, y = np.arange(33.0).reshape(11, 3), np.tile([1.0, -1.0], 6)[:11]
        split = read_split(write("a.npz", npz_bytes(x=x, y=y)), seed=seed, n=6)
        assert (split.train.n, split.held_out.n, split.mixture) == (6, 5, None)
        both = np.concatenate([split.train.x, split.held_out.x])
        assert (both[np.argsort(both[:, 0])] == x).all()
        again = {tuple(row): label for row, label in zip(x, y, strict=True)}
        for part in (split.train, split.held_out):
            assert [again[tuple(row)] for row in part.x] == list(part.y)

    def test_half_of_a_file_unless_told(self, write):
        x, y = np.arange(24.0).reshape(12, 2), np.tile([1.0, -1.0], 6)
        assert read_split(write("a.npz", npz_bytes(x=x, y=y))).train.n == 6

    def test_digits_hold_out_all_other_images(self):
        pytest.importorskip("sklearn")
        split = read_split("digits:3,8", seed=2, n=20)
        assert (split.train.n, split.held_out.n) == (20, 337)
        assert (split.train.x == read_sample("digits:3,8", seed=2, n=20).x).all()
        rows = {row.tobytes() for row in split.train.x}
        assert not any(row.tobytes() in rows for row in split.held_out.x)

    def test_centred_digits_use_the_mean_of_the_training_images(self):
        pytest.importorskip("sklearn")
        raw = read_split("digits:3,8", seed=2, n=20)
        centred = read_split("digits:3,8,centred", seed=2, n=20)
        mean = raw.train.x.mean(axis=0)
        np.testing.assert_allclose(centred.train.x, raw.train.x - mean, atol=1e-12)
        np.testing.assert_allclose(centred.held_out.x, raw.held_out.x - mean, atol=1e-12)

    @pytest.mark.parametrize(
        ("y", "n", "says"),
        [
            ([1.0, -1.0, 1.0, -1.0], 4, "no rows are left to hold out"),
            ([0.5, -1.0, 1.0, -1.0], 2, "needs labels -1 and"),
            ([1.0, 1.0, 1.0, 1.0], 2, "one class only"),
            ([1.0, 1.0, -1.0, -1.0], 5, "n"),
        ],
    )
    def test_what_cannot_be_split_is_said(self, write, y, n, says):
        file = write("a.npz", npz_bytes(x=np.arange(8.0).reshape(4, 2), y=y))
        with pytest.raises((DataFileError, ProblemError), match=says):
            read_split(file, n=n)
