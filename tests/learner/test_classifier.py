"""What a network says of images, whatever is computed at once."""

import numpy as np
import pytest
from scipy.special import log_softmax

from cnn.data.dataset import Part
from cnn.data.feed import pixels
from cnn.learner.classifier import Classifier, answered, log_probabilities, ranking


@pytest.mark.parametrize("streamed", [False, True])
def test_the_bits_of_logits_do_not_depend_on_the_batch_size(
    make_feed, make_network, stored: Part, monkeypatch: pytest.MonkeyPatch, streamed: bool
) -> None:
    monkeypatch.setattr(pixels, "STREAMED_BYTES", 220 * 144)
    network = make_network("lenet5-like")
    groups = [np.arange(70, 170), np.arange(100)[::-1], np.arange(17), np.arange(150, 250)]
    results = []
    for batch_size in (1, 100, 250, 1000):
        feed = make_feed(stored, resident_mb=0) if streamed else make_feed()
        results.append([*Classifier(network, feed, batch_size)(groups)])
    expected = network((stored.images / 255 - 0.5).astype(np.float32) / 0.25, training=False).numpy()
    for result in results:
        assert len(result) == 4
        for group, (logits, labels), (first, _) in zip(groups, result, results[0], strict=True):
            assert logits.tobytes() == first.tobytes()
            np.testing.assert_allclose(logits, expected[group], atol=1e-5)
            assert np.array_equal(labels, stored.labels[group])


def test_small_groups_and_none(make_feed, make_network) -> None:
    classifier = Classifier(make_network("fcnn"), make_feed(), group=3)
    assert [logits.shape for logits, _ in classifier([np.arange(3), np.arange(2)])] == [(3, 4), (2, 4)]
    assert [*classifier([])] == []


def test_ranking() -> None:
    logits = np.array([[1, 3, 3, 2], [np.nan, 0, 5, -np.inf], [np.nan] * 4], np.float32)
    assert ranking(logits, 3).tolist() == [[1, 2, 3], [2, 1, 3], [0, 1, 2]]
    assert ranking(logits, 9).shape == (3, 4)


def test_log_probabilities() -> None:
    logits = np.array([[1, 2, -1000], [1000, 1001, 999], [0, np.nan, 1], [np.inf, 0, 1]], np.float32)
    np.testing.assert_allclose(log_probabilities(logits)[:2], log_softmax(logits[:2].astype(float), 1), rtol=1e-12)
    assert np.isnan(log_probabilities(logits)[2:]).any(1).all()


def test_which_samples_have_an_answer() -> None:
    logits = np.array([[1, 2], [np.nan, 1], [1, np.nan], [np.inf, 0], [-np.inf, 0], [-np.inf] * 2], np.float32)
    assert answered(logits).tolist() == [True, False, False, False, True, False]
