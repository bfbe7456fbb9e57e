from cnn.monitoring.tensorboard.rationed_drawing import RationedDrawing


def test_drawing_takes_a_two_hundredth_of_the_time_and_the_last_is_never_left_out() -> None:
    now, spent = 0.0, 0.0

    def draw() -> list[float]:
        nonlocal spent
        spent += 0.5
        return [now]

    rationed = RationedDrawing(lambda: spent, lambda: now)
    drawn: list[float] = []
    for step in range(1001):
        now = float(step)
        drawn.extend(rationed.draw(step, draw))
    assert drawn == [100.0 * number for number in range(11)]
    assert rationed.left_out() == (0, ())
    now = 1001.0
    assert rationed.draw(1001, draw) == ()
    assert rationed.left_out() == (1001, [1001.0])
    assert rationed.left_out() == (0, ())
