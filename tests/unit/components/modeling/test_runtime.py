import pytest
import tf_keras

from crossrec.components.modeling import runtime


def policy_of_a_new_layer():
    return tf_keras.layers.Dense(1).dtype_policy.name


def test_the_precision_is_that_of_the_layers_made_within_and_no_other_also_after_an_error():
    assert policy_of_a_new_layer() == "float32"
    with pytest.raises(RuntimeError), runtime.mixed_precision("mixed_float16"):
        assert policy_of_a_new_layer() == "mixed_float16"
        raise RuntimeError
    assert policy_of_a_new_layer() == "float32"
