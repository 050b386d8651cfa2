"""Early stopping, resuming, and refusing a loss that is no number, on a model of three weights."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from crossrec.components.modeling.checkpoints import checkpoint_directory
from crossrec.components.modeling.training import Monitor, TrainableModel, TrainingConfig, fit

ROWS = 64


class Line(TrainableModel):
    """Linear regression."""

    def __init__(self):
        super().__init__()
        self._dense = tf_keras.layers.Dense(1)
        self._dense.build([None, 3])

    def compute_loss(self, inputs, training=False):
        return tf.reduce_mean(tf.square(self._dense(inputs["x"]) - inputs["y"]))

    def weights_now(self):
        return np.concatenate([weight.numpy().reshape(-1) for weight in self._dense.weights])


def make_model(learning_rate=0.05):
    tf_keras.utils.set_random_seed(3)
    model = Line()
    model.compile(optimizer=tf_keras.optimizers.Adam(learning_rate))
    return model


def make_data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 3)).astype(np.float32)
    y = (x @ [[1.0], [-2.0], [0.5]] + rng.normal(size=(ROWS, 1))).astype(np.float32)
    data = tf.data.Dataset.from_tensor_slices({"x": x, "y": y})
    return data.shuffle(ROWS, seed=5, reshuffle_each_iteration=True).batch(8).prefetch(1)


class Script:
    """A monitor that says what the test wants, and remembers the weights it was asked about."""

    def __init__(self, model, values, kill_at=None):
        self.model, self.values, self.kill_at, self.seen = model, values, kill_at, []

    def __call__(self):
        epoch = len(self.seen)
        if epoch == self.kill_at:
            raise KeyboardInterrupt
        self.seen.append(self.model.weights_now())
        return self.values[epoch]


def config(**values):
    return TrainingConfig(**{"epochs": 5, "batch_size": 8, "patience": 0, **values})


@pytest.mark.parametrize(
    ("maximise", "values", "patience", "epochs", "best"),
    [
        (True, [0.1, 0.5, 0.4, 0.3, 0.9], 2, 4, 1),
        (False, [0.9, 0.4, 0.5, 0.6, 0.1], 2, 4, 1),
        (True, [0.1, 0.5, 0.4, 0.3, 0.9], 0, 5, 4),
        (True, [0.1, 0.2, 0.3, 0.4, 0.5], 1, 5, 4),
        (True, [0.5, 0.5, 0.5, 0.5, 0.5], 1, 2, 0),
        (False, [0.5, 0.6, 0.4, 0.6, 0.7], 2, 5, 2),
    ],
)
def test_the_best_epoch_is_kept(tmp_path, maximise, values, patience, epochs, best):
    model = make_model()
    script = Script(model, values)
    history = fit(model, make_data(), Monitor("m", maximise, script), config(patience=patience), str(tmp_path))
    assert [entry["monitor"] for entry in history] == values[:epochs] and len(script.seen) == epochs
    np.testing.assert_array_equal(model.weights_now(), script.seen[best])
    assert len({tuple(weights) for weights in script.seen}) == epochs, "every epoch learned"
    assert all(np.isfinite(entry["loss"]) and entry["seconds"] >= 0 for entry in history)


RECIPES = {
    "plain": {},
    "averages": {"averaging": {"decay": 0.8}, "schedule": {"type": "plateau", "factor": 0.5, "warm_up_steps": 12}},
    "late averages": {"averaging": {"type": "uniform", "first_epoch": 2}, "schedule": {"type": "cosine"}},
}


@pytest.mark.parametrize(
    ("recipe", "killed_in"),
    [("plain", 0), ("plain", 1), ("plain", 3), ("averages", 1), ("averages", 3), ("late averages", 2)],
)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, recipe, killed_in):
    values = [0.1, 0.9, 0.2, 0.3, 0.4]
    config_ = config(**RECIPES[recipe])
    model = make_model()
    whole = Script(model, values)
    history = fit(model, make_data(), Monitor("m", True, whole), config_, str(tmp_path / "whole"))

    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, make_data(), Monitor("m", True, Script(model, values, killed_in)), config_, str(tmp_path / "killed"))
    model = make_model()
    rest = Script(model, values[killed_in:])
    resumed = fit(model, make_data(), Monitor("m", True, rest), config_, str(tmp_path / "killed"))

    assert len(rest.seen) == 5 - killed_in, "finished epochs are not trained again"
    assert [entry["monitor"] for entry in resumed] == [entry["monitor"] for entry in history]
    np.testing.assert_allclose([e["loss"] for e in resumed], [e["loss"] for e in history], rtol=1e-6)
    np.testing.assert_allclose(rest.seen, whole.seen[killed_in:], rtol=1e-6)
    np.testing.assert_allclose(model.weights_now(), whole.seen[1], rtol=1e-6)


def test_the_learning_rate_of_each_step_is_the_schedules(tmp_path):
    model = make_model(0.08)
    rates = []

    class Note(tf_keras.optimizers.Adam):
        def apply_gradients(self, *args, **kwargs):
            tf.py_function(lambda rate: rates.append(float(rate)), [self.learning_rate], [])
            return super().apply_gradients(*args, **kwargs)

    model.compile(optimizer=Note(0.08))
    schedule = {"type": "plateau", "factor": 0.5, "warm_up_steps": 10}
    script = Script(model, [0.5, 0.6, 0.4])
    fit(model, make_data(), Monitor("m", False, script), config(epochs=3, schedule=schedule), str(tmp_path))
    expected = [0.08 * min(1.0, step / 10) for step in range(1, 17)] + [0.04] * 8
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_averages_are_measured_and_kept_and_leave_the_training_alone(tmp_path):
    plain = make_model()
    last = Script(plain, [1.0, 2.0, 3.0])
    fit(plain, make_data(), Monitor("m", True, last), config(epochs=3), str(tmp_path / "plain"))
    model = make_model()
    script = Script(model, [1.0, 3.0, 2.0])
    averaging = {"type": "uniform", "first_epoch": 1, "every": 8}
    values = config(epochs=3, averaging=averaging)
    fit(model, make_data(), Monitor("m", True, script), values, str(tmp_path / "averaged"))
    np.testing.assert_allclose(script.seen[0], last.seen[0], rtol=1e-6)
    np.testing.assert_allclose(script.seen[1], last.seen[1], rtol=1e-6)
    np.testing.assert_allclose(script.seen[2], (last.seen[1] + last.seen[2]) / 2, rtol=1e-5)
    np.testing.assert_array_equal(model.weights_now(), script.seen[1])


def test_the_reported_loss_is_the_mean_of_the_epochs_steps(tmp_path):
    model = make_model()
    model.compile(optimizer=tf_keras.optimizers.SGD(0.0))
    history = fit(model, make_data(), Monitor("m", True, lambda: 1.0), config(epochs=1), str(tmp_path))
    of_batches = [float(model.compute_loss(batch)) for batch in make_data()]
    assert history[0]["loss"] == pytest.approx(np.mean(of_batches), rel=1e-5)
    assert np.ptp(of_batches) > 0.1


def test_a_kill_between_weights_and_history_leaves_the_former_best(tmp_path, monkeypatch):
    model = make_model()
    script = Script(model, [0.5, 0.9])
    write = Path.write_text
    monkeypatch.setattr(
        Path, "write_text", lambda path, text, **kw: killed() if text.count("monitor") == 2 else write(path, text, **kw)
    )

    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, make_data(), Monitor("m", True, script), config(epochs=2), str(tmp_path))
    monkeypatch.undo()
    again = make_model()
    rest = Script(again, [0.4])
    fit(again, make_data(), Monitor("m", True, rest), config(epochs=2), str(tmp_path))
    np.testing.assert_array_equal(again.weights_now(), script.seen[0])


def test_a_run_killed_after_its_last_epoch_only_picks_the_best(tmp_path):
    model = make_model()
    script = Script(model, [0.1, 0.9, 0.2, 0.1])
    fit(model, make_data(), Monitor("m", True, script), config(patience=2), str(tmp_path))
    again = make_model()
    never = Script(again, [], kill_at=0)
    history = fit(again, make_data(), Monitor("m", True, never), config(patience=2), str(tmp_path))
    assert len(history) == 4
    np.testing.assert_array_equal(again.weights_now(), script.seen[1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_monitor_that_is_no_number_is_refused(tmp_path, value):
    model = make_model()
    with pytest.raises(FloatingPointError, match=r"learning_rate: at 0\.02 .*recall .* in epoch 2\. Lower"):
        fit(
            model,
            make_data(),
            Monitor("recall", True, Script(model, [0.1, value])),
            config(learning_rate=0.02),
            str(tmp_path),
        )


def test_a_loss_that_is_no_number_is_refused_with_field_value_and_mend(tmp_path):
    model = make_model(1e38)
    with pytest.raises(FloatingPointError, match=r"training\.learning_rate: at 10\.0 the loss became (nan|inf)"):
        fit(model, make_data(), Monitor("m", True, Script(model, [0.1] * 5)), config(learning_rate=10.0), str(tmp_path))


def test_checkpoints_go_after_success_and_stay_after_failure(tmp_path):
    with checkpoint_directory(str(tmp_path), "ranking", ["config", "code"]) as directory:
        model = make_model()
        fit(model, make_data(), Monitor("m", True, Script(model, [1.0])), config(epochs=1), directory)
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())

    with pytest.raises(RuntimeError), checkpoint_directory(str(tmp_path), "ranking", ["config", "code"]) as directory:
        model = make_model()
        fit(model, make_data(), Monitor("m", True, Script(model, [1.0])), config(epochs=1), directory)
        raise RuntimeError("the disk is full")
    (left,) = tmp_path.iterdir()
    assert str(left) == directory and list(left.iterdir())


def test_only_the_same_work_finds_a_checkpoint_again(tmp_path):
    names = set()
    for name, identity in (("a", ["x", "y"]), ("b", ["x", "y"]), ("a", ["x", "z"]), ("a", ["y", "x"])):
        with checkpoint_directory(str(tmp_path), name, identity) as directory:
            names.add(directory)
        with checkpoint_directory(str(tmp_path), name, identity) as directory:
            assert directory in names
    assert len(names) == 4


@pytest.mark.parametrize(
    ("field", "value"),
    [("epochs", 0), ("batch_size", 1), ("learning_rate", 0.0), ("learning_rate", float("nan")), ("patience", -1)],
)
def test_settings_that_cannot_train_are_refused(field, value):
    with pytest.raises(ValueError, match=field):
        TrainingConfig(**{field: value})
