import pytest

from cnn.data.store.preparation_progress import PreparationProgress


def test_only_what_is_decoded_now_counts(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PreparationProgress()
    progress.start("mine", 5000, 2000)
    progress.advance(128)
    progress.advance(72)
    progress.close()
    assert progress.images == 200
    assert progress.seconds > 0
    output, error = capsys.readouterr()
    assert output == ""
    assert error == "preparing mine: resuming after 2,000 of 5,000 images\n"
