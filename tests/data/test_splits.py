"""Stratified choices of indices, against scikit-learn's and against one another."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from transferzoo.data.splits import stratified_indices


@given(counts=st.lists(st.integers(10, 40), min_size=2, max_size=6), share=st.floats(0.3, 0.7))
@settings(max_examples=40, deadline=None)
def test_class_counts_agree_with_scikit_learns_within_one(counts, share):
    y = np.repeat(np.arange(len(counts)), counts)
    count = round(share * len(y))
    ours = np.bincount(y[stratified_indices(y, count, 0, spare=1)])
    theirs = np.bincount(train_test_split(y, train_size=count, stratify=y, random_state=0)[0])
    assert ours.sum() == theirs.sum() == count
    assert np.abs(ours - theirs).max() <= 1


@given(
    classes=st.integers(2, 6),
    small=st.integers(6, 60),
    more=st.integers(0, 60),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_of_equal_classes_a_smaller_choice_is_part_of_a_larger(classes, small, more, seed):
    y = np.arange(20 * classes) % classes
    small = min(small, len(y))
    large = min(small + more, len(y))
    assert set(stratified_indices(y, small, seed)) <= set(stratified_indices(y, large, seed))
