"""Datasets by name."""

import subprocess
import sys

import numpy as np
import pytest

from transferzoo.data import catalog
from transferzoo.data.arrays import from_arrays
from transferzoo.data.catalog import dataset_info, list_datasets, load_dataset, register_dataset
from transferzoo.data.dataset import Dataset
from transferzoo.errors import InvalidInputError, NameTakenError, UnknownNameError, UnknownOptionError

BUILT_IN = ("cifar10", "cifar100", "digits")


def load_noise(*, validation=0.2, seed=0, images=60):
    x = np.random.default_rng(0).integers(0, 256, (images, 8, 8, 3))
    return from_arrays(x, np.arange(images) % 3, validation=validation, seed=seed)


@pytest.fixture
def registry(monkeypatch):
    """A registry to write to that is put back afterwards."""
    monkeypatch.setattr(catalog.DATASETS, "_records", dict(catalog.DATASETS._records))
    return catalog.DATASETS


def test_the_built_in_datasets_are_listed():
    assert set(BUILT_IN) <= set(list_datasets())
    assert list_datasets("CIFAR*") == ["cifar10", "cifar100"]


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_entry_says_what_it_is_and_on_what_terms(name):
    entry = dataset_info(name)
    assert entry.name == name
    assert entry.description
    assert entry.source
    assert entry.licence
    assert entry.num_classes in (10, 100)
    assert entry.image_shape == (32, 32, 3)
    assert callable(catalog._resolve(entry.loader))


def test_what_the_entry_says_of_digits_is_what_loads():
    data, entry = load_dataset("digits"), dataset_info("digits")
    assert (data.num_classes, data.input_shape) == (entry.num_classes, entry.image_shape)


def test_validation_and_seed_reach_the_loader():
    data = load_dataset("digits", validation=100, seed=3)
    assert len(data.y_validation) == 100
    assert data.seed == 3


def test_a_folder_in_place_of_a_name_is_told_what_reads_it(tmp_path):
    with pytest.raises(InvalidInputError, match=r"tz\.from_directory\(.*reads it"):
        load_dataset(str(tmp_path))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        load_dataset("cifar-10")
    assert "Did you mean 'cifar10'?" in str(caught.value)
    assert all(name in str(caught.value) for name in BUILT_IN)
    with pytest.raises(UnknownNameError):
        dataset_info("digit")


def test_an_option_that_the_loader_does_not_take_is_refused():
    with pytest.raises(UnknownOptionError) as caught:
        load_dataset("digits", validaton=0.1)
    assert "load_dataset('digits') has no option 'validaton'" in str(caught.value)
    assert "Did you mean 'validation'?" in str(caught.value)


def test_a_path_for_a_dataset_without_files_is_refused():
    with pytest.raises(InvalidInputError, match="path must be left out for 'digits'"):
        load_dataset("digits", path="somewhere")


@pytest.mark.parametrize("arguments", [{"validation": 0}, {"validation": 1.0}, {"seed": -1}, {"seed": 0.5}])
def test_other_shares_and_seeds_are_refused_before_loading(arguments):
    with pytest.raises(InvalidInputError, match=f"{next(iter(arguments))} must be"):
        load_dataset("cifar100", **arguments)


def test_a_registered_dataset_loads_under_its_name_with_its_options(registry):
    register_dataset("noise", load_noise, description="nothing to see")
    data = load_dataset("noise", images=90, validation=9)
    assert isinstance(data, Dataset)
    assert data.name == "noise"
    assert [len(y) for _, y in data.splits.values()] == [63, 9, 18]
    assert dataset_info("noise").description == "nothing to see"
    assert "noise" in list_datasets()


def test_a_loader_with_a_path_gets_the_path(registry):
    def load_from(*, path, **options):
        assert path == "here"
        return load_noise(**options)

    register_dataset("noise", load_from)
    assert load_dataset("noise", path="here").num_classes == 3


def test_a_taken_name_is_refused_unless_replaced(registry):
    register_dataset("noise", load_noise)
    with pytest.raises(NameTakenError, match="replace=True"):
        register_dataset("noise", load_noise)
    register_dataset("noise", load_noise, description="anew", replace=True)
    assert dataset_info("noise").description == "anew"


@pytest.mark.parametrize("loader", ["module:function", None, load_noise(), lambda: None, lambda seed: None])
def test_a_loader_without_the_two_keywords_is_refused(registry, loader):
    with pytest.raises(InvalidInputError, match="loader must be a callable"):
        register_dataset("noise", loader)


def test_a_loader_that_returns_something_else_is_refused(registry):
    register_dataset("noise", lambda validation, seed: [1, 2])
    with pytest.raises(InvalidInputError) as caught:
        load_dataset("noise")
    assert "loader of 'noise'" in str(caught.value)
    assert "Got [1, 2]" in str(caught.value)
    assert "from_arrays" in str(caught.value)


HEAVY = "{'keras', 'tensorflow', 'sklearn', 'PIL', 'pooch', 'matplotlib'}"


def loaded(statement):
    code = f"import sys\n{statement}\nprint(*sorted({HEAVY} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_listing_datasets_loads_nothing_heavy():
    assert loaded("from transferzoo.data.catalog import list_datasets; list_datasets()") == []
    assert loaded("import transferzoo.data.cifar, transferzoo.data.digits, transferzoo.data.folder") == []


@pytest.mark.medium
def test_loading_digits_loads_no_keras():
    assert loaded("from transferzoo.data.catalog import load_dataset; load_dataset('digits')") == [
        "PIL",
        "sklearn",
    ]
