import numpy as np
import pytest

from transferzoo.data.mixing import draw_partners


def black_and_white(count):
    """Each sample black and of class 0, each partner white and of class 1."""
    x, other = np.zeros((count, 16, 20, 3), "uint8"), np.full((count, 16, 20, 3), 255, "uint8")
    one_hot = np.eye(2, dtype="float32")
    return x, one_hot[np.zeros(count, int)], other, one_hot[np.ones(count, int)]


def mixed(count=200, **how):
    partners = draw_partners(count, **{"mixup": 0.0, "cutmix": 0.0, **how}, rng=np.random.default_rng(0))
    return partners, *partners.mix(*black_and_white(count))


@pytest.mark.parametrize("how", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_a_label_holds_as_much_of_the_other_class_as_the_image_of_the_other_sample(how):
    _, x, y = mixed(**how)
    assert np.allclose(x.mean(axis=(1, 2, 3)) / 255, y[:, 1], atol=1e-5)
    assert np.allclose(y.sum(axis=1), 1)


def test_mixup_lets_the_other_image_shine_through_evenly():
    _, x, _ = mixed(mixup=0.4)
    assert np.ptp(x, axis=(1, 2, 3)).max() == 0


def test_cutmix_takes_whole_pixels():
    _, x, _ = mixed(cutmix=1.0)
    assert set(np.unique(x)) == {0, 255}


def test_with_both_about_half_are_cut():
    partners, *_ = mixed(mixup=0.2, cutmix=1.0)
    assert 70 < partners.cut.sum() < 130


def test_shares_follow_the_beta_distribution():
    share = draw_partners(20_000, mixup=0.2, cutmix=0, rng=np.random.default_rng(0)).share
    assert share.mean() == pytest.approx(0.5, abs=0.01)
    # the variance of Beta(a, a)
    assert share.var() == pytest.approx(1 / (4 * (2 * 0.2 + 1)), abs=0.005)


def test_each_sample_is_the_partner_of_one():
    partners, *_ = mixed(mixup=0.2)
    assert sorted(partners.index) == list(range(200))


def test_what_is_given_is_not_written_to():
    given = black_and_white(50)
    partners = draw_partners(50, mixup=0.2, cutmix=1.0, rng=np.random.default_rng(0))
    partners.mix(*given)
    assert all(map(np.array_equal, given, black_and_white(50)))
